"""A table's files: Markdown, LaTeX, CSV, one HTML page, figures as PNG and SVG."""

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from hcl.storage.files import write_atomically
from sweeps.output import plots
from sweeps.output.latex import as_latex
from sweeps.output.table import Table, numbers_csv
from sweeps.records.redact import redact_command
from sweeps.reports.page import comparison_page
from sweeps.reproduction.figures import figures
from sweeps.reproduction.request import TableRequest
from sweeps.reproduction.results import TableResults
from sweeps.reproduction.tables import Origin, all_tables, title
from sweeps.reproduction.transfer import transfer_tables


def write_all(request: TableRequest, results: TableResults, origin: Origin) -> list[Table]:
    """Write every file of the table into the request's output folder.

    Returns:
        The tables, for the terminal.
    """
    drawn, missing = figures(request, results)
    tables = all_tables(request.spec, results, origin, missing)
    if request.spec.head.figure == "transfer":
        tables += transfer_tables(request, results)
    folder, name = request.output, request.folder.name
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {key: plots.png(figure) for key, figure in drawn.items()}
    write_atomically(folder / f"{name}.md", _markdown(tables, list(drawn)))
    write_atomically(folder / f"{name}.tex", as_latex(tables[0]))
    write_atomically(folder / f"{name}.csv", numbers_csv(tables[1:]))  # the grid's are among them
    head = {"kind": "table", "command": origin.command, "commit": origin.commit}
    page = comparison_page(title(request.spec), tables, pictures, [request.folder], head)
    write_atomically(folder / f"{name}.html", page)
    for key, figure in drawn.items():
        (folder / f"{key}.png").write_bytes(pictures[key])
        _write_svg(figure, folder / f"{key}.svg")
    return tables


def portable_command(arguments: Sequence[str], default_storage: Path) -> str:
    """Write the `hcl` command that made a table in a form that works on any machine.

    The table is published with it, and an absolute folder means nothing on another machine. So
    paths become relative to the current folder, and the default `--storage` is left out, however
    it was written. Credentials are hidden.

    Args:
        arguments: of the command, without the program's name.
        default_storage: folder that is used without `--storage`.
    """
    parts: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if option == "--storage":
            folder = Path(value if equals else next(rest, "")).expanduser().resolve()
            if folder != default_storage.resolve():
                parts += [option, os.path.relpath(folder)]
        elif equals and Path(value).is_absolute():
            parts.append(f"{option}={os.path.relpath(value)}")
        else:
            is_absolute = Path(argument).is_absolute()
            parts.append(os.path.relpath(argument) if is_absolute else argument)
    return redact_command(["hcl", *parts])


def _markdown(tables: Sequence[Table], names: Sequence[str]) -> str:
    links = "\n".join(f"![{name}]({name}.png)\n" for name in names)
    return "\n".join([*(table.markdown() for table in tables), links]).rstrip() + "\n"


def _write_svg(figure: Figure, path: Path) -> None:
    # No date and fixed ids: the same numbers give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "hcl"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
