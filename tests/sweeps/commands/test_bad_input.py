"""Mistakes of a user: one clear sentence, status 2, nothing started, nothing left."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import bad_commands
import bad_files
import bad_input as bad
import matplotlib.font_manager  # noqa: F401  (it writes into the home that it is imported in)
import pytest
from bad_input import PASSWORD, file
from ray._private.services import find_gcs_addresses

from hcl.__main__ import main as hcl_main
from sweeps import cli

pytestmark = [
    pytest.mark.timeout(60),  # the first ones import torch, Optuna, MLflow and Ray
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

ROOT = Path(__file__).parents[3]
VARIABLES = ("HCL_STORAGE", "HCL_DATA", "HCL_STUDY_URL", "MLFLOW_TRACKING_URI", "RAY_ADDRESS")
CASES = {**bad_files.CASES, **bad_commands.CASES}


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], tuple[int, str]]:
    """Run `command("sweep bad.yaml")` in its own folder; return exit status and output."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.chdir(tmp_path)

    def call(line: str) -> tuple[int, str]:
        words = shlex.split(line)
        if words[:3] == ["python", "-m", "hcl"]:
            return hcl_main(words[3:]), "".join(capsys.readouterr())
        monkeypatch.setattr(sys, "argv", ["hcl", *words])
        code = cli.answer()
        return code, "".join(capsys.readouterr())

    return call


def prepare(name: str, folder: Path) -> bad.Case:
    case = CASES[name]
    (folder / "home").mkdir()
    file(bad.SPACE, "space.yaml")(folder)
    file(bad.TRIAL, "trial.yaml")(folder)
    if case.make:
        case.make(folder)
    return case


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    name: str, command: Callable[[str], tuple[int, str]], tmp_path: Path
) -> None:
    if name == "no cluster here" and find_gcs_addresses():
        pytest.skip("a Ray cluster runs on this machine")
    case = prepare(name, tmp_path)
    before = bad.snapshot(tmp_path)
    code, text = command(case.command)
    lines = text.strip().splitlines()
    assert code == 2, text
    assert case.message in text
    assert "Traceback" not in text and PASSWORD not in text
    assert len(lines) == case.lines and max(map(len, lines)) <= 400, text
    assert bad.snapshot(tmp_path) == before
    assert bad.children() == []


Run = Callable[[Path, list[str]], tuple[int, bytes, bytes]]


@pytest.fixture(scope="module")
def forked() -> Iterator[Run]:
    """Run commands in processes of their own that need not import everything again."""
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "sweeps" / "forked_commands.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None and process.stdout is not None

    def run(folder: Path, words: list[str]) -> tuple[int, bytes, bytes]:
        print(
            json.dumps([str(folder), str(folder / "home"), words]), file=process.stdin, flush=True
        )
        status = int(process.stdout.readline())
        out, err = (folder.with_name(f"{folder.name}.{name}") for name in ("out", "err"))
        return status, out.read_bytes(), err.read_bytes()

    yield run
    assert process.communicate()[1] == "", "the imports say something"


@pytest.mark.slow
@pytest.mark.timeout(600)  # the first one imports everything
@pytest.mark.parametrize("name", CASES)
def test_a_process_writes_that_sentence_and_nothing_else(
    name: str, tmp_path: Path, forked: Run
) -> None:
    case = prepare(name, tmp_path)
    check_bytes(name, case, *forked(tmp_path, shlex.split(case.command)))


@pytest.mark.parametrize("name", ["hcl, no MNIST", "no MNIST", "no such CPU", "MLflow is down"])
def test_a_process_that_has_imported_all_ends_quietly(name: str, tmp_path: Path) -> None:
    check_process(name, tmp_path)


def check_process(name: str, folder: Path) -> None:
    """All bytes of a process of its own, up to its very end."""
    case = prepare(name, folder)
    words = shlex.split(case.command)
    module = words[2:] if words[:3] == ["python", "-m", "hcl"] else ["sweeps.cli", *words]
    kept = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    environment = {"HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *module], cwd=folder, capture_output=True, env=kept | environment
    )
    check_bytes(name, case, done.returncode, done.stdout, done.stderr)


def check_bytes(name: str, case: bad.Case, status: int, out: bytes, err: bytes) -> None:
    """The message is all that a process has written."""
    if name == "no cluster here" and find_gcs_addresses():
        pytest.skip("a Ray cluster runs on this machine")
    assert status == 2, err
    # What `hcl validate` finds is its result.
    assert out == b"" or case.command.startswith("validate")
    text = (out + err).decode()
    lines = text.splitlines()
    assert len(lines) == case.lines and text == "\n".join(lines) + "\n"
    assert case.message in text and PASSWORD not in text


DRY = [
    name
    for name, case in CASES.items()
    if case.command.partition(" ")[0] in ("sweep", "run", "confirm", "reproduce", "study")
]


@pytest.mark.parametrize("name", DRY)
def test_a_dry_run_finds_every_mistake_that_the_real_run_finds(
    name: str, command: Callable[[str], tuple[int, str]], tmp_path: Path
) -> None:
    case = prepare(name, tmp_path)
    before = bad.snapshot(tmp_path)
    code, text = command(f"{case.command} --dry-run")
    assert (code, case.message in text, PASSWORD in text) == (2, True, False), text
    assert bad.snapshot(tmp_path) == before


def test_the_table_is_long_and_has_no_case_twice() -> None:
    assert len(CASES) == len(bad_files.CASES) + len(bad_commands.CASES) >= 150
