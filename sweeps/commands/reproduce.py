"""`hcl reproduce`: a table of the paper with one command."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hcl.config import ConfigError
from sweeps.commands.options import (
    STORAGE,
    Address,
    DataRoot,
    Plugin,
    ShipCode,
    Storage,
    TrackingUri,
    command_line,
    console,
    find_store,
    parse_names,
    parse_seeds_or_count,
    say,
    use_plugins,
)
from sweeps.commands.stop_after import StopAfter, limited
from sweeps.records.folder import SweepFolder, git_tags
from sweeps.reproduction.table_file import load_table, names
from sweeps.space.settings import SweepSettings
from sweeps.workers.warm_imports import importing

if TYPE_CHECKING:
    from sweeps.output.table import Table
    from sweeps.reproduction.request import TableRequest

TableName = Annotated[
    str, typer.Argument(help="Name of a table (see --list), or a table file of your own.")
]
List = Annotated[bool, typer.Option("--list", help="List the tables.")]
Seeds = Annotated[
    str | None,
    typer.Option(show_default="the paper's", help="How many (20 = 1..20), or which: 3..5."),
]
Budget = Annotated[
    str,
    typer.Option(
        help="Part of the iterations: paper, quick (0.1), smoke (0.01), or a fraction: 0.02."
    ),
]
Only = Annotated[
    str | None, typer.Option(metavar="ROW,COL", help="Rows and columns, e.g. S-CL3,hnet_ent.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show cells, trainings and hours; train nothing.")
]
Show = Annotated[
    bool, typer.Option("--show", help="Make the table from what is there; train nothing.")
]
ShowJson = Annotated[
    bool, typer.Option("--json", help="With --show: print the tables as JSON, for a program.")
]
RunsFrom = Annotated[
    str | None, typer.Option(metavar="NAME,...", help="Other sweeps whose runs count too.")
]
Records = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Count the trainings in FOLDER/NAME.jsonl too; add those made now.",
    ),
]
AnyVersion = Annotated[
    bool,
    typer.Option(
        "--any-version", help="Count runs of other versions of the numbers, or on other data."
    ),
]
Cpus = Annotated[int, typer.Option(help="CPU cores of each training.", min=1)]
Gpus = Annotated[float, typer.Option(help="GPUs, or a share.", min=0)]
MaxConcurrent = Annotated[
    int, typer.Option(help="Trainings at a time; 0 = as many as fit.", min=0)
]
NumReplicas = Annotated[
    int, typer.Option(help="Seeds to train together as replicas, where the method can.", min=1)
]


def reproduce(
    context: typer.Context,
    table: TableName = "",
    show_list: List = False,
    seeds: Seeds = None,
    budget: Budget = "paper",
    only: Only = None,
    dry_run: DryRun = False,
    show: Show = False,
    as_json: ShowJson = False,
    runs_from: RunsFrom = None,
    records: Records = None,
    any_version: AnyVersion = False,
    cpus_per_trial: Cpus = 1,
    gpus_per_trial: Gpus = 0.0,
    max_concurrent: MaxConcurrent = 0,
    num_replicas: NumReplicas = 1,
    stop_after: StopAfter = None,
    address: Address = None,
    ship_code: ShipCode = False,
    plugin: Plugin = None,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
    data_root: DataRoot = None,
) -> None:
    """Train a table of the paper and show it beside the paper's numbers.

    A finished cell is never trained again, an interrupted one is resumed; 20 seeds after 5 train
    15 more. Files (Markdown, LaTeX, CSV, HTML, figures) are written to STORAGE/tables/NAME.

    \b
    Examples:
      hcl reproduce --list
      hcl reproduce table1 --seeds 5 --dry-run
      hcl reproduce table1 --seeds 5 --only S-CL1,S-CL3
      hcl reproduce table1 --budget smoke --seeds 2
      hcl reproduce table1 --seeds 5 --show --records docs/records
      hcl reproduce table1 --seeds 5 --show --json

    \b
    Exit status: 0 complete, 1 cells are missing, 2 something to correct, 3 Ray itself died, 4
    the time of --stop-after is over (after 3 and 4 the same command goes on), 130 interrupted.
    """
    if as_json and not show:
        raise ConfigError("--json: prints a table that is there; give --show too")
    if show_list or not table:
        _show_names()
        raise typer.Exit(0 if show_list else 2)
    use_plugins(context, plugin, *([Path(table)] if Path(table).is_file() else []))
    spec = load_table(table).at_budget(budget)
    spec = spec.only(parse_names(only)) if only else spec
    chosen = tuple(parse_seeds_or_count(seeds, spec.head.seeds))
    settings = SweepSettings(cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial,
                             max_concurrent_trials=max_concurrent)  # fmt: skip
    with importing():
        from sweeps.reproduction.request import TableRequest, folder_name

    folder = SweepFolder(storage, folder_name(spec))
    store, sources = find_store(folder, tracking_uri), tuple(parse_names(runs_from))
    request = TableRequest(spec, chosen, folder, store, sources, any_version,
                           data_root, address, settings, num_replicas, command_line())  # fmt: skip
    if records:
        _read_records(request, records, show, as_json)
    if dry_run:
        _show_plan(request, ship_code)
    else:
        with limited(stop_after):
            _make(request, ship_code, not show, records, as_json)


def _read_records(request: "TableRequest", records: Path, is_needed: bool, is_quiet: bool) -> None:
    """Take over the finished trainings that a folder of records has of the table's sources."""
    from sweeps.records.archive import archive_of, unpack
    from sweeps.tracking.sync import sync_sweep

    for name in (request.folder.name, *request.runs_from):
        folder, archive = SweepFolder(request.folder.storage, name), archive_of(records, name)
        if is_needed and not archive.exists():
            raise ConfigError(f"--records {records}: there is no {archive.name} in that folder")
        if archive.exists() and (count := unpack(archive, folder)):
            say(f"{archive}: {count} trainings", stderr=is_quiet)
            sync_sweep(folder, replace(request.store, experiment=name))


def _show_names() -> None:
    for name in names():
        say(f"{name:18} {load_table(name).head.title}")


def _make(
    request: "TableRequest",
    ship_code: bool,
    train: bool,
    records: Path | None,
    as_json: bool = False,
) -> None:
    with importing():
        from sweeps.cluster.connection import connected
        from sweeps.records.archive import archive_of, pack
        from sweeps.reproduction.results import read_results
        from sweeps.reproduction.tables import Origin
        from sweeps.reproduction.trainings import train_missing
        from sweeps.reproduction.transfer import transfer_tables
        from sweeps.reproduction.write import portable_command, write_all

    with connected(request.address if train else None, ship_code and train):
        if train:
            train_missing(request, console())
            if records:
                pack(request.folder, archive_of(records, request.folder.name))
        found = read_results(request)
        commit = str(git_tags().get("git_commit", "?"))
        typed = [argument for argument in sys.argv[1:] if argument != "--json"]
        tables = write_all(request, found, Origin(portable_command(typed, STORAGE), commit))
        transfer = request.spec.head.figure == "transfer"
        more = transfer_tables(request, found) if transfer else []
        if as_json:
            say(json.dumps([table.to_dict() for table in [*tables, *more]], indent=1))
        else:
            _show_tables(request, [tables[0], *more])
    is_complete = all(result.is_complete for result in found.cells.values())
    raise typer.Exit(0 if is_complete else 1)


def _show_tables(request: "TableRequest", tables: Sequence["Table"]) -> None:
    from sweeps.output.terminal import as_text

    for table in tables:
        say(as_text(table))
    drawn = ", ".join(sorted(path.name for path in request.output.glob("*.png")))
    say(f"every cell and tests in {request.output}; figures there: {drawn or 'none'}")


def _show_plan(request: "TableRequest", ship_code: bool) -> None:
    """Print what would be trained, and for how long."""
    from hcl import Runtime
    from sweeps.cluster import cost
    from sweeps.cluster.connection import connected
    from sweeps.output.metric_names import duration
    from sweeps.output.terminal import as_text
    from sweeps.reproduction.results import read_results
    from sweeps.reproduction.trainings import check_table

    with connected(request.address, ship_code):
        todo = [seed.config for seed in check_table(request)]
    numbers = len(request.spec.cells) * len(request.seeds)
    there = sum(len(result.runs) for result in read_results(request).cells.values())
    say(
        f"{request.folder.name}: {len(request.spec.cells)} cells x {len(request.seeds)} seeds ="
        f" {numbers} numbers, {there} are there; the others need {len(todo)} trainings"
    )
    if not todo:
        return
    device = "cuda" if request.settings.gpus_per_trial else "cpu"
    runtime = Runtime(
        device=device, threads=request.settings.cpus_per_trial, data_root=request.data_root
    )
    named = [(f"{c.benchmark.name} {c.scenario} {c.method_name}", c, 1) for c in todo]
    needs = cost.measure(cost.group(named), runtime)
    say(as_text(cost.table("Trainings, estimated", needs, device)))
    if (total := cost.sum_hours(needs)) is not None:
        say(f"about {duration(3600 * total)} one after the other; shared classifiers count twice")
