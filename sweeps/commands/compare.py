"""`hcl compare`: a user's own sweeps and methods side by side."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from sweeps.commands.options import (
    STORAGE,
    Json,
    Storage,
    TrackingUri,
    command_line,
    complete_sweeps,
    find_store,
    parse_names,
    say,
)
from sweeps.records.folder import SweepFolder, write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.output.table import Table
    from sweeps.reports.compare import Compared

Sweeps = Annotated[
    list[str] | None,
    typer.Argument(show_default="all", help="Names of sweeps.", autocompletion=complete_sweeps),
]
Methods = Annotated[str | None, typer.Option(help="Keep only these, e.g. hnet,si,online_ewc.")]
Metric = Annotated[str, typer.Option(help="Or learning_accuracy, forgetting, backward_transfer.")]
Mixed = Annotated[
    bool, typer.Option("--mixed", help="Show methods of unequal protocols, seeds or data too.")
]
Plots = Annotated[
    bool,
    typer.Option(
        "--plots", help="Also curves as PNG files, Optuna's plots, importance of settings."
    ),
]
Out = Annotated[
    Path | None, typer.Option(show_default="STORAGE/compare", help="Folder of the files.")
]


def compare(
    sweeps: Sweeps = None,
    methods: Methods = None,
    metric: Metric = "average_accuracy",
    mixed: Mixed = False,
    plots: Plots = False,
    out: Out = None,
    as_json: Json = False,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
) -> None:
    """Compare sweeps and methods: ablation table, paired tests over seeds, a page with all runs.

    Methods with other protocols, seeds, orders or data than the rest are refused.

    \b
    Examples:
      hcl compare split_mnist-hnet split_mnist-si split_mnist-online_ewc
      hcl compare --methods hnet,si,online_ewc --plots
    """
    from sweeps.output.latex import as_latex
    from sweeps.output.table import numbers_csv
    from sweeps.output.terminal import as_text
    from sweeps.reports.compare import comparison_tables, runs_to_compare
    from sweeps.reports.page import comparison_page

    runs = _read(sweeps or [], storage, tracking_uri)
    compared = runs_to_compare(runs.frame, runs.where, sweeps or [], parse_names(methods), metric)
    tables = comparison_tables(compared, metric, mixed)
    folder = (out or storage / "compare").expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _draw(compared, runs, tables, folder) if plots else {}
    write_atomically(folder / "compare.md", "\n".join(table.markdown() for table in tables))
    write_atomically(folder / "compare.tex", as_latex(tables[0]))
    write_atomically(folder / "compare.csv", numbers_csv(tables))
    title = f"Comparison of {', '.join(sweeps or []) or 'all sweeps'}"
    head = {"kind": "comparison", "command": command_line()}
    page = comparison_page(title, tables, pictures, runs.folders, head)
    write_atomically(folder / "compare.html", page)
    if as_json:
        return say(json.dumps([table.to_dict() for table in tables], indent=1))
    for table in tables:
        say(as_text(table))
    return say(f"tables and the page, compare.html, in {folder}")


class _Runs(NamedTuple):
    """Runs to compare: where they were read, and how the matrices of each are."""

    frame: "pd.DataFrame"
    where: str
    folders: list[SweepFolder]
    matrices_of: "Callable[[pd.Series], Any]"


def _read(names: list[str], storage: Path, tracking_uri: str | None) -> _Runs:
    """Read runs from the sweeps' own records, which takes a tenth of MLflow's time, or there."""
    from sweeps.records.entries import read_matrices, read_recorded

    root = SweepFolder(storage, "any").storage
    found = names or sorted(path.name for path in (root / "sweeps").glob("*") if path.is_dir())
    folders = [SweepFolder(storage, name) for name in found]
    recorded = [folder for folder in folders if folder.journals()]
    if tracking_uri is None and recorded and (not names or recorded == folders):
        read = read_recorded(recorded)
        of_key = {records[0]["run_key"]: records for records in read.journals.values()}
        return _Runs(
            read.frame, str(root), recorded, lambda run: read_matrices(of_key[run["tags.run_key"]])
        )
    from sweeps.tracking import accuracy_matrices, runs_frame

    store = find_store(SweepFolder(storage, names[0] if names else "any"), tracking_uri)
    return _Runs(
        runs_frame(store), store.shown_uri, folders if names else [],
        lambda run: accuracy_matrices(store, run["run_id"]),
    )  # fmt: skip


def _draw(
    compared: "Compared", runs: _Runs, tables: list["Table"], folder: Path
) -> dict[str, bytes]:
    """Write curves and Optuna's plots as files, and add its tables; return the curves."""
    from sweeps.output.plots import png
    from sweeps.reports.pictures import curves, describe_study

    drawn = {key: png(figure) for key, figure in curves(compared, runs.matrices_of).items()}
    for key, picture in drawn.items():
        (folder / f"{key}.png").write_bytes(picture)
    described = [describe_study(sweep, folder) for sweep in runs.folders]
    tables += [table for table in described if table]
    return drawn
