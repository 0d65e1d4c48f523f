"""`hcl reproduce`: a table of the paper with one command."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hcl.config import ConfigError
from sweeps.commands.confirm import parse_seeds
from sweeps.commands.options import (
    STORAGE,
    Address,
    DataRoot,
    ShipCode,
    Storage,
    TrackingUri,
    absolute,
    console,
    find_store,
    say,
)
from sweeps.records.folder import SweepFolder, git_tags

if TYPE_CHECKING:
    from sweeps.reproduction.run import Request


def reproduce(
    table: Annotated[
        str, typer.Argument(help="Name of a table (see --list), or a table file of your own.")
    ] = "",
    show_list: Annotated[bool, typer.Option("--list", help="List the tables.")] = False,
    seeds: Annotated[
        str | None,
        typer.Option(show_default="the paper's", help="How many (20 = 1..20), or which: 3..5."),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            help="Part of the iterations: paper, quick (0.1), smoke (0.01), or a fraction: 0.02."
        ),
    ] = "paper",
    only: Annotated[
        str | None, typer.Option(metavar="ROW,COL", help="Rows and columns, e.g. S-CL3,hnet_ent.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Cells, trainings and hours; trains nothing.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Make the table from what is there; trains nothing.")
    ] = False,
    runs_from: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Other sweeps whose runs count too.")
    ] = None,
    any_version: Annotated[
        bool,
        typer.Option(
            "--any-version", help="Count runs of other versions of the numbers, or on other data."
        ),
    ] = False,
    any_code: Annotated[bool, typer.Option("--any-code", hidden=True)] = False,
    cpus_per_trial: Annotated[int, typer.Option(help="CPU cores of each training.", min=1)] = 1,
    gpus_per_trial: Annotated[float, typer.Option(help="GPUs, or a share.", min=0)] = 0.0,
    max_concurrent: Annotated[
        int, typer.Option(help="Trainings at a time; 0 = as many as fit.", min=0)
    ] = 0,
    num_replicas: Annotated[
        int, typer.Option(help="Seeds at a time, as a batch, where the method can.", min=1)
    ] = 1,
    address: Address = None,
    ship_code: ShipCode = False,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
    data_root: DataRoot = None,
) -> None:
    """Train a table of the paper and show it beside the paper's numbers.

    A finished cell is never trained again, an interrupted one goes on, 20 seeds after 5 train 15
    more. Files (Markdown, LaTeX, CSV, HTML, figures) are written to STORAGE/tables/NAME.

    \b
    Examples:
      hcl reproduce --list
      hcl reproduce table1 --seeds 5 --dry-run
      hcl reproduce table1 --seeds 5 --only S-CL1,S-CL3
      hcl reproduce table1 --budget smoke --seeds 2

    \b
    Exit status: 0 complete, 1 cells are missing, 2 something to correct, 130 interrupted.
    """
    from sweeps.reproduction import table_file as specs

    if show_list or not table:
        for name in specs.names():
            say(f"{name:18} {specs.load_table(name).head.title}")
        raise typer.Exit(0 if show_list else 2)
    spec = specs.load_table(table).at_budget(budget)
    spec = spec.only(only.split(",")) if only else spec
    if any_code:
        say("--any-code is called --any-version now")
    chosen = _seeds(seeds, spec.head.seeds)
    from sweeps.reproduction.run import Request, folder_name
    from sweeps.space.settings import SweepSettings

    folder = SweepFolder(storage, folder_name(spec))
    request = Request(
        spec,
        tuple(chosen),
        folder,
        find_store(storage, tracking_uri, folder.name),
        tuple(runs_from.split(",")) if runs_from else (),
        any_version or any_code,
        absolute(data_root),
        address,
        SweepSettings(
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,
            max_concurrent_trials=max_concurrent,
        ),
        num_replicas,
    )
    if dry_run:
        raise typer.Exit(_plan(request))
    from sweeps.cluster.connection import connected

    with connected(None if show else address, ship_code and not show):
        code = _make(request, train=not show)
    raise typer.Exit(code)


def _seeds(text: str | None, default: int) -> list[int]:
    """`5` is 1..5; `3..5` and `1,4` are those."""
    if text is None:
        return list(range(1, default + 1))
    if text.isdecimal():
        if not 0 < int(text) <= 1000:
            raise ConfigError(f"--seeds {text}: give 1 to 1000")
        return list(range(1, int(text) + 1))
    return parse_seeds(text)


def _make(request: "Request", train: bool) -> int:
    from sweeps.reproduction.run import read_cells, train_missing
    from sweeps.reproduction.tables import Provenance
    from sweeps.reproduction.transfer import transfer_tables
    from sweeps.reproduction.write import write_all

    if train:
        train_missing(request, console())
    found = read_cells(request)
    command = shlex.join(["hcl", *sys.argv[1:]])
    tables = write_all(request, found, Provenance(command, str(git_tags().get("git_commit", "?"))))
    transfer = request.spec.head.figure == "transfer"
    for table in [tables[0], *(transfer_tables(request, found) if transfer else [])]:
        say(table.terminal(width=160))
    drawn = ", ".join(sorted(path.name for path in request.output.glob("*.png")))
    say(f"every cell and tests in {request.output}; figures there: {drawn or 'none'}")
    return 0 if all(result.is_complete for result in found.cells.values()) else 1


def _plan(request: "Request") -> int:
    """What would be trained, and for how long."""
    from sweeps.cluster import cost
    from sweeps.reproduction.run import check_data, missing, read_cells

    found = read_cells(request)
    todo = missing(request, found)
    numbers = len(request.spec.cells) * len(request.seeds)
    there = sum(len(result.runs) for result in found.cells.values())
    say(
        f"{request.folder.name}: {len(request.spec.cells)} cells x {len(request.seeds)} seeds ="
        f" {numbers} numbers, {there} are there; the others need {len(todo)} trainings"
    )
    if not todo:
        return 0
    check_data(request, todo)
    from hcl.training.process import Runtime

    device = "cuda" if request.settings.gpus_per_trial else "cpu"
    runtime = Runtime(
        device=device, threads=request.settings.cpus_per_trial, data_root=request.data_root
    )
    named = [(f"{c.benchmark.name} {c.scenario} {c.method_name}", c, 1) for c in todo]
    needs = cost.measure(cost.group(named), runtime)
    say(cost.table("Trainings, estimated", needs, device).terminal(width=170))
    if (total := cost.sum_hours(needs)) is not None:
        say(f"about {total:.1f} hours one after the other; shared classifiers count twice")
    return 0
