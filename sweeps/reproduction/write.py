"""A table's files: Markdown, LaTeX, CSV, one HTML page, figures as PNG and SVG."""

from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.output import plots
from sweeps.output.html_page import html_page
from sweeps.output.table import Table, numbers_csv
from sweeps.records.folder import write_atomically
from sweeps.reproduction.figures import figures
from sweeps.reproduction.results import Collected
from sweeps.reproduction.run import Request
from sweeps.reproduction.tables import Provenance, all_tables, title
from sweeps.reproduction.transfer import transfer_tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_all(request: Request, found: Collected, origin: Provenance) -> list[Table]:
    """Write every form into the request's output folder; the tables, for the terminal."""
    drawn, missing = figures(request, found)
    tables = all_tables(request.spec, found, origin, missing)
    if request.spec.head.figure == "transfer":
        tables += transfer_tables(request, found)
    folder, name = request.output, request.folder.name
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {key: plots.png(figure) for key, figure in drawn.items()}
    write_atomically(folder / f"{name}.md", _markdown(tables, list(drawn)))
    write_atomically(folder / f"{name}.tex", "\n".join(table.latex() for table in tables))
    write_atomically(folder / f"{name}.csv", tables[1].csv())
    write_atomically(folder / f"{name}-numbers.csv", numbers_csv(tables))
    write_atomically(folder / f"{name}.html", html_page(title(request.spec), tables, pictures))
    for key, figure in drawn.items():
        (folder / f"{key}.png").write_bytes(pictures[key])
        _write_svg(figure, folder / f"{key}.svg")
    return tables


def _markdown(tables: list[Table], names: list[str]) -> str:
    links = "\n".join(f"![{name}]({name}.png)\n" for name in names)
    return "\n".join([*(table.markdown() for table in tables), links]).rstrip() + "\n"


def _write_svg(figure: "Figure", path: Path) -> None:
    # No date and fixed ids: the same numbers give the same file.
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "hcl"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
