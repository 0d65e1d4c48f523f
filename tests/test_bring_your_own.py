"""The example of a user's own folder: its commands run, from its README, in a copy of it."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from servers import until

FOLDER = Path(__file__).parents[1] / "examples" / "bring_your_own"
LONGEST = 60  # lines of each of its files
QUICK = ("check", "validate")
PROGRAMS = {
    "hcl": [sys.executable, "-m", "sweeps.cli"],
    "mlflow": [sys.executable, "-m", "mlflow"],
    "python": [sys.executable],
    "curl": ["curl"],
}
COMMANDS = re.findall(r"^\$ (.*)$", (FOLDER / "README.md").read_text(), re.MULTILINE)
# A worktree's code may be another than the installed one.
HERE = os.environ | {"PYTHONPATH": str(FOLDER.parents[1]), "COLUMNS": "100"}
HERE["PATH"] = f"{Path(sys.executable).parent}:{HERE['PATH']}"  # MLflow calls `uvicorn`


def words(command: str) -> list[str]:
    program, *rest = shlex.split(command.removesuffix("&"))
    return [*PROGRAMS[program], *rest]


def run(command: str, folder: Path) -> str:
    done = subprocess.run(words(command), cwd=folder, env=HERE, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "mine"))


def test_its_files_are_short() -> None:
    long = {
        path.name: len(path.read_text().splitlines())
        for path in FOLDER.iterdir()
        if path.suffix in (".py", ".yaml") and len(path.read_text().splitlines()) > LONGEST
    }
    assert not long


def test_its_searches_differ_in_the_method_alone() -> None:
    texts = [(FOLDER / f"{name}.yaml").read_text() for name in ("l2", "hnet", "si")]
    shared = [[line for line in text.splitlines() if "method" not in line] for text in texts]
    assert shared[0] == shared[1] == shared[2] and len(set(texts)) == 3


@pytest.mark.timeout(120)
def test_check_and_validate(copy: Path) -> None:
    quick = [command for command in COMMANDS if command.split()[1] in QUICK]
    assert len(quick) == len(QUICK)
    said = "".join(run(command, copy) for command in quick)
    assert said.count("ok ") == 15 and said.count(": ok, ") == 3 and "WRONG" not in said


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_from_search_to_server(copy: Path) -> None:
    """The commands of the README, as they are there, one after the other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    serve, ask = (command.replace("5001", port) for command in COMMANDS[-2:])
    assert serve.startswith("mlflow models serve") and ask.startswith("curl")
    said = {command: run(command, copy) for command in COMMANDS[:-2]}
    for name in ("l2", "hnet", "si"):
        assert "6 of 6 trials ended" in said[f"hcl sweep {name}.yaml"]
    compared = next(text for command, text in said.items() if " compare " in command)
    assert all(f"{label} " in compared for label in ("L2", "HNET", "SI"))
    right = re.findall(r"task \d, digits .*: ([\d.]+)% right", said["python ask.py"])
    assert len(right) == 3 and min(map(float, right)) > 80
    for path in ("my_method.py", "my_network.py", "my_data.py"):
        (copy / path).unlink()  # the model has its own copies
    with (copy / "log").open("w") as log:
        server = subprocess.Popen(
            words(serve), cwd=copy, env=HERE, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until(lambda: is_up(port), 300)
        answer = json.loads(run(ask, copy))["predictions"]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert len(answer["labels"]) == 3 and set(answer["labels"]) <= {3, 4, 5}
    assert answer["task_ids"] == [1, 1, 1]


def is_up(port: str) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2).status == 200
    except OSError:
        return False
