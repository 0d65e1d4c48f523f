"""The pages say what is true: layers, paths, tests and options that they name exist."""

import importlib
import inspect
import re
from pathlib import Path

import pytest
import typer
from test_layers import LAYERS, module_files, module_name

from sweeps.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = r"(?:hcl|sweeps|tests|docs|deploy|bench|search_spaces|trials)"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


@pytest.mark.parametrize("package", LAYERS)
def test_the_diagram_shows_the_layers(package: str) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (block,) = re.findall(rf"^  subgraph {package}\n(.*?)^  end$", text, re.DOTALL | re.MULTILINE)
    drawn = [tuple(label.split(", ")) for label in re.findall(r'\["(.*?)"\]', block)]
    assert drawn == list(LAYERS[package])


@pytest.mark.timeout(60)
def test_every_public_method_says_what_it_does() -> None:
    """A method without a docstring overrides one that has it."""
    silent = []
    for name in map(module_name, module_files()):
        if name.endswith("__main__"):
            continue
        classes = inspect.getmembers(importlib.import_module(name), inspect.isclass)
        for class_name, found in classes:
            is_protocol = getattr(found, "_is_protocol", False)  # its docstring names the classes
            if found.__module__ == name and class_name[0] != "_" and not is_protocol:
                members = (getattr(found, key) for key in vars(found) if key[0] != "_")
                silent += [
                    f"{name}: {class_name}.{member.__name__}"
                    for member in members
                    if inspect.isroutine(member) and not inspect.getdoc(member)
                ]
    assert not silent


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_named_files_and_folders_exist(page: Path) -> None:
    text = page.read_text()
    linked = [page.parent / path for path in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", text)]
    # `~/hcl` and `/mnt/hcl` are folders of a cluster's nodes.
    quoted = re.findall(rf"(?<![\w/.~-])({FOLDERS}/[\w./-]*\w)", text)
    missing = [path for path in [*linked, *(ROOT / path for path in quoted)] if not path.exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_named_tests_exist(page: Path) -> None:
    missing = []
    file = ""
    for named, test in re.findall(r"`(?:tests/)?([\w/]+\.py)?::(\w+)`", page.read_text()):
        file = named or file  # `::test` names a test of the file before
        found = list((ROOT / "tests").rglob(file))
        if not any(f"def {test}(" in path.read_text() for path in found):
            missing.append(f"{file}::{test}")
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_named_commands_have_these_options(page: Path) -> None:
    group = typer.main.get_command(app)
    text = page.read_text().replace("\\\n", " ")
    commands = re.findall(r"(?:^|`|bin/)hcl ([a-z][^\n`#]*)", text, re.MULTILINE)
    wrong = []
    for line in commands:
        command, options = group, []
        for word in line.split():
            if word.startswith("--"):
                options.append(word)
            elif not options and hasattr(command, "commands"):
                command = command.commands[word]
        known = {option for parameter in command.params for option in parameter.opts}
        wrong += [f"hcl {line.strip()}: {option}" for option in options if option not in known]
    assert not wrong
