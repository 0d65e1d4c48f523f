"""Commands in the pages: all parse, what they name exists, and a test runs each kind of them."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from sweeps.cli import app
from sweeps.reproduction.table_file import load_table
from sweeps.space.bundled import find_file

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(ROOT / folder / "README.md" for folder in ("search_spaces", "trials")),
    *sorted((ROOT / "docs").glob("*.md")),
]
# Programs that are not ours: docs/cluster.md says what of them was tried.
FOREIGN = set(
    "cd curl docker echo env export git grep kubectl mlflow optuna-dashboard pip python3 ray"
    " sbatch source sqlite3 ssh uv".split()
)
# Where a whole command of each kind runs for real, beside the start page below.
RUN_BY = {
    "demo": "test_wheel.py::test_the_demo_and_what_is_left_after_it",
    "sweep": "test_wheel.py::test_a_sweep_by_name",
    "confirm": "sweeps/launch/test_confirm.py::",
    "reproduce": "sweeps/reproduction/test_reproduce.py::",
    "compare": "sweeps/reports/test_compare.py::",
    "run": "sweeps/commands/test_cli.py::",
    "report": "sweeps/reports/test_report.py::",
    "check": "test_bring_your_own.py::test_check_and_validate",
    "ui": "sweeps/commands/test_cli.py::",
    "export": "sweeps/tracking/test_learners.py::",
    "sync": "sweeps/tracking/test_outages.py::",
    "validate": "sweeps/commands/test_cli.py::",
    "data": "benchmarks/test_prepared.py::",
    "study": "sweeps/comparison/test_study.py::",
    "best": "sweeps/space/test_change.py::",
    "files": "sweeps/space/test_bundled.py::",
    "settings": "sweeps/space/test_reference.py::",
}


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def blocks(page: Path, language: str) -> list[str]:
    """Contents of the fenced blocks of a language."""
    found = re.findall(
        rf"^ *```{language}\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE
    )
    return [block.replace("\\\n", " ") for block in found]


def commands(page: Path) -> list[list[str]]:
    """Every command of a page's shell blocks, in words, without redirections and variables."""
    found = []
    for line in "\n".join(blocks(page, "bash")).splitlines():
        for part in re.split(r"&&|\|", re.sub(r"(^|\s)#.*", "", line)):
            words = shlex.split(re.sub(r"[<>].*", "", part)) if part.count("'") % 2 == 0 else []
            while words and re.fullmatch(r"\w+=\S*", words[0]):
                words = words[1:]
            if words and not words[0].startswith("-"):  # a line of a longer text in quotes
                found.append([words[0].rpartition("/")[2], *words[1:]])
    return found


def ours(page: Path) -> list[list[str]]:
    return [words[1:] for words in commands(page) if words[0] == "hcl"]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_program_is_known(page: Path) -> None:
    targets = re.findall(r"^([\w./$()-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = {*targets, ".venv/.ready"}
    for words in commands(page):
        if words[0] == "make":
            assert words[1] in made, words
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]), words
        else:
            assert words[0] in FOREIGN | {"hcl"}, words
    inline = re.findall(r"`make ([a-z]+)[ `]", page.read_text())
    assert set(inline) <= made
    modules = re.findall(r"`python -m ([\w.]+)", page.read_text())
    assert all(map(importlib.util.find_spec, modules))


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_parse_and_name_what_is_there(page: Path) -> None:
    group = typer.main.get_command(app)
    for words in ours(page):
        name, *arguments = words
        if name.startswith("--"):
            assert name in ("--version", "--help")
            continue
        command = group.commands[name]
        while hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]
        context = command.make_context(name, arguments)  # raises what a user would see
        assert name in RUN_BY, words
        if name == "reproduce" and context.params["table"]:
            spec = load_table(context.params["table"]).at_budget(context.params["budget"])
            spec.only((context.params["only"] or "").split(",")) if context.params[
                "only"
            ] else None
        kind = {"sweep": "search space", "run": "trial", "study": "study"}.get(name)
        given = str(context.params.get("file") or context.params.get("config") or "")
        if kind and given and not given.startswith(("mine", "my_", "trial.yaml")):
            assert (ROOT / find_file(ROOT / given if "/" in given else given, kind)).is_file()


@pytest.mark.parametrize("named", RUN_BY.values())
def test_the_tests_that_run_them_exist(named: str) -> None:
    file, _, test = named.partition("::")
    assert f"def {test or 'test_'}" in (ROOT / "tests" / file).read_text()


def test_the_workflow_runs_the_gate() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = workflow["jobs"]["gate"]["steps"]
    assert [step["run"] for step in steps if "run" in step][-1] == ".ci/run"
    gate = ROOT / ".ci" / "run"
    assert os.access(gate, os.X_OK)
    assert set(re.findall(r"^make (\w+)", gate.read_text(), re.MULTILINE)) == {
        "check", "test", "docs", "demo", "wheel",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_start_page_from_top_to_bottom(tmp_path: Path) -> None:
    """With fewer trials and seeds; the demo is run from the wheel."""
    fewer = {"sweep": ["--num-trials", "2"], "confirm": ["--seeds", "101,102"]}
    for words in ours(ROOT / "docs" / "index.md"):
        is_data_needed = "table1" in words
        if words[0] == "demo" or is_data_needed:
            continue
        line = [sys.executable, "-m", "sweeps.cli", *words, *fewer.get(words[0], [])]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
        if words[0] == "files" and len(words) > 1:
            (tmp_path / "mine.yaml").write_text(done.stdout)


def test_the_regularizers_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Its assertions compare the Gram form with the direct one."""
    code = "\n".join(blocks(ROOT / "docs" / "regularizer.md", "python"))
    exec(compile(code, "regularizer.md", "exec"), {})
    assert "Gram form: relative error" in capsys.readouterr().out
