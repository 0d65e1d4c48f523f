"""The examples run as they are, and stay short."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
LONGEST = 40  # lines
NEEDS_RAY = ("sweep_and_compare.py",)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_examples_are_short(script: Path) -> None:
    assert len(script.read_text().splitlines()) <= LONGEST


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "script", [s for s in SCRIPTS if s.name not in NEEDS_RAY], ids=lambda path: path.name
)
def test_an_example_runs(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [str(script)])
    runpy.run_path(str(script), run_name="__main__")
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NEEDS_RAY)
def test_a_sweep_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / name), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "an empty image is a" in done.stdout


@pytest.mark.timeout(120)
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (path,) = FOLDER.glob("*.ipynb")
    notebook = json.loads(path.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        needed = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            assert cell.keys() == needed | {"execution_count", "outputs"} and not cell["outputs"]
            exec(compile("".join(cell["source"]), f"{path.name}:{cell['id']}", "exec"), names)
        else:
            assert cell["cell_type"] == "markdown" and cell.keys() == needed
