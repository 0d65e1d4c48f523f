"""`hcl files`: the search spaces, tables, trials and studies that come with hcl."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.commands.options import say
from sweeps.space.bundled import FOLDERS, bundled_files, find_file
from sweeps.space.yaml_file import load_yaml, read_text

Name = Annotated[
    str, typer.Argument(show_default="list them", help="Name of a bundled file, to print it.")
]


def files(name: Name = "") -> None:
    """List the bundled search spaces, tables, trials and studies, or print one as a start.

    \b
    Examples:
      hcl files
      hcl files split_mnist-hnet > my_space.yaml

    \b
    Exit status: 0 shown, 2 there is no such file.
    """
    if name:
        say(read_text(find_file(name, *FOLDERS)).rstrip("\n"))
        return
    for kind, command in zip(FOLDERS, ("sweep", "reproduce", "run", "study"), strict=True):
        say(f"{'studies' if kind == 'study' else kind + 's'} (hcl {command} NAME)")
        for file, path in bundled_files(kind).items():
            say(f"  {file:25} {_about(path)}")


def _about(path: Path) -> str:
    """Say in a line what a file is for: its description or title, or its first comment."""
    document = load_yaml(path)
    about = document.get("description") or document.get("title")
    return str(about or read_text(path).splitlines()[0].strip("# ."))
