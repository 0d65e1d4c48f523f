"""What a user can get wrong: one clear sentence, status 2, nothing started, nothing left."""

import pickle
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import bad_commands
import bad_files
import bad_input as bad
import pytest
import torch
import yaml
from bad_input import PASSWORD, file

from hcl import checkpoint
from hcl.__main__ import main as hcl_main
from sweeps import cli, yaml_file
from sweeps.tracking import redact

pytestmark = [
    pytest.mark.timeout(60),  # the first ones import torch, Optuna, MLflow and Ray
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

CASES = {**bad_files.CASES, **bad_commands.CASES}


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], tuple[int, str]]:
    """`command("sweep bad.yaml")` -> (exit status, all it wrote), in a folder of its own."""
    for name in ("HCL_STORAGE", "HCL_DATA", "HCL_STUDY_URL", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.chdir(tmp_path)

    def call(line: str) -> tuple[int, str]:
        words = shlex.split(line)
        with pytest.raises(SystemExit) as ended:
            if words[:3] == ["python", "-m", "hcl"]:
                sys.exit(hcl_main(words[3:]))
            monkeypatch.setattr(sys, "argv", ["hcl", *words])
            cli.main()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), "".join(capsys.readouterr())

    return call


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    name: str, command: Callable[[str], tuple[int, str]], tmp_path: Path
) -> None:
    case = CASES[name]
    (tmp_path / "home").mkdir()
    file(bad.SPACE, "space.yaml")(tmp_path)
    file(bad.TRIAL, "trial.yaml")(tmp_path)
    if case.make:
        case.make(tmp_path)
    before = bad.snapshot(tmp_path)
    code, text = command(case.command)
    lines = text.strip().splitlines()
    assert code == 2, text
    assert case.message in text
    assert "Traceback" not in text and PASSWORD not in text
    assert len(lines) == case.lines and max(map(len, lines)) <= 400, text
    assert bad.snapshot(tmp_path) == before
    assert bad.children() == []


def test_the_table_is_long_and_has_no_case_twice() -> None:
    assert len(CASES) == len(bad_files.CASES) + len(bad_commands.CASES) >= 150


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:pw@host:5/x", "http://***@host:5/x"),
        ("postgresql+psycopg2://me:p%40/w@host/x", "postgresql+psycopg2://***@host/x"),
        ("http//me:pw@host", "http//***@host"),
        ("hcl sync --tracking-uri=me:pw@host", "hcl sync --tracking-uri=***@host"),
        ("postgresql://host/x?user=me&password=pw", "postgresql://host/x?user=me&password=***"),
        (
            "see http://host/x at 12:30, or mail a@b.org",
            "see http://host/x at 12:30, or mail a@b.org",
        ),
    ],
)
def test_credentials_are_redacted(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_pickle_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "7.pt").write_bytes(pickle.dumps(Touch(tmp_path / "pwned")))
    torch.save({"state": Touch(tmp_path / "pwned")}, tmp_path / "8.pt")
    with pytest.warns(UserWarning, match="skipping unreadable checkpoint"):
        assert checkpoint.load_latest(tmp_path) is None
    assert not (tmp_path / "pwned").exists()


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_nothing_reads_code_as_data() -> None:
    """No pickle, no unsafe YAML, no numpy objects, anywhere in the sources."""
    root = Path(cli.__file__).parents[1]
    sources = {
        path: path.read_text()
        for name in ("hcl", "sweeps")
        for path in (root / name).rglob("*.py")
    }
    unsafe = (
        r"yaml\.(load|load_all|unsafe_load|full_load)\(|(?<![.\w])(eval|exec)\(|shell=True"
        r"|\b(import|from) (pickle|cloudpickle|dill|joblib|marshal|shelve)\b"
    )
    for path, text in sources.items():
        assert not re.search(unsafe, text), path
        for call in re.findall(r"torch\.load\(.*", text):
            assert "weights_only=True" in call, path
        for call in re.findall(r"np\.load\(.*", text):
            assert "allow_pickle=False" in call, path
    assert sum("weights_only=True" in text for text in sources.values()) == 1
    assert sum("allow_pickle=False" in text for text in sources.values()) >= 2
    assert issubclass(yaml_file._Loader, yaml.SafeLoader)
