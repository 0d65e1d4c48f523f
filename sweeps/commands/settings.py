"""`hcl settings`: what can be set, with types, defaults, limits and meanings."""

import json
import shutil
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from sweeps.commands.options import Plugin, say, use_plugins
from sweeps.space.json_schema import json_schema
from sweeps.space.reference import find_section, markdown, sections, text

Name = Annotated[
    str,
    typer.Argument(
        show_default="list the groups", help="A group, a method or one setting, e.g. method/beta."
    ),
]


Markdown = Annotated[bool, typer.Option("--markdown", help="Print all as one Markdown page.")]


JsonSchema = Annotated[
    bool, typer.Option("--json-schema", help="Print a JSON Schema; with it editors complete YAML.")
]


def settings(
    context: typer.Context,
    name: Name = "",
    page: Markdown = False,
    schema: JsonSchema = False,
    plugin: Plugin = None,
) -> None:
    """Show the settings of a trial or a sweep: values, defaults and meanings.

    \b
    Examples:
      hcl settings
      hcl settings hnet
      hcl settings train/lr
      hcl settings my_methods:MyMethod
      hcl settings --json-schema > schema.json

    \b
    Exit status: 0 shown, 2 there is no such setting.
    """
    use_plugins(context, plugin, Path("a file here"))
    if schema:
        say(json.dumps(json_schema()))
        return
    if page:
        say(markdown())
        return
    width = min(shutil.get_terminal_size().columns, 100)
    if name:
        say(text(find_section(name), width))
        return
    for section in sections():
        names = [setting.name.rpartition("/")[2] for setting in section.settings]
        line = f"{section.name:13} {', '.join(names) or section.about}"
        say(textwrap.fill(line, width, subsequent_indent=" " * 14))
