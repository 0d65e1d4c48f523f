"""`hcl compare`: a user's own sweeps and methods side by side."""

import json
from pathlib import Path
from typing import Annotated

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

Sweeps = Annotated[
    list[str] | None,
    typer.Argument(show_default="all", help="Names of sweeps.", autocompletion=complete_sweeps),
]
Methods = Annotated[str | None, typer.Option(help="Keep these alone, e.g. hnet,si,online_ewc.")]
Metric = Annotated[
    str, typer.Option(help="Also learning_accuracy, forgetting, backward_transfer.")
]
Mixed = Annotated[
    bool, typer.Option("--mixed", help="Show methods of unequal protocols, seeds or data too.")
]
Out = Annotated[
    Path | None, typer.Option(show_default="STORAGE/compare", help="Folder of the files.")
]


def compare(
    sweeps: Sweeps = None,
    methods: Methods = None,
    metric: Metric = "average_accuracy",
    mixed: Mixed = False,
    out: Out = None,
    as_json: Json = False,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
) -> None:
    """Compare sweeps and methods: ablation table, paired tests over seeds, curves, importances.

    Methods with other protocols, seeds, orders or data than the rest are refused.

    \b
    Examples:
      hcl compare split_mnist-hnet split_mnist-si split_mnist-online_ewc
      hcl compare --methods hnet,si,online_ewc
    """
    from sweeps.output import plots
    from sweeps.output.latex import as_latex
    from sweeps.output.table import numbers_csv
    from sweeps.output.terminal import as_text
    from sweeps.reports import compare as comparing
    from sweeps.reports.importance import describe_study
    from sweeps.reports.page import comparison_page

    names = sweeps or []
    store = find_store(SweepFolder(storage, names[0] if names else "any"), tracking_uri)
    compared = comparing.runs_to_compare(store, names, parse_names(methods), metric)
    tables = comparing.comparison_tables(compared, metric, mixed)
    folder = (out or storage / "compare").expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        found = describe_study(SweepFolder(storage, name), folder)
        tables += [found] if found else []
    pictures = {
        key: plots.png(figure) for key, figure in comparing.curves(compared, store).items()
    }
    for key, picture in pictures.items():
        (folder / f"{key}.png").write_bytes(picture)
    write_atomically(folder / "compare.md", "\n".join(table.markdown() for table in tables))
    write_atomically(folder / "compare.tex", as_latex(tables[0]))
    write_atomically(folder / "compare.csv", numbers_csv(tables))
    title = f"Comparison of {', '.join(names) or 'all sweeps'}"
    head = {"kind": "comparison", "command": command_line()}
    folders = [SweepFolder(storage, name) for name in names]
    page = comparison_page(title, tables, pictures, folders, head)
    write_atomically(folder / "compare.html", page)
    if as_json:
        return say(json.dumps([table.to_dict() for table in tables], indent=1))
    for table in tables:
        say(as_text(table))
    return say(f"tables and curves in {folder}")
