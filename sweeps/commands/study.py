"""`hcl study`: methods compared under one protocol, with equal effort, on fresh seeds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hcl.config import ConfigError
from sweeps.commands.options import (
    STORAGE,
    Address,
    Changes,
    DataRoot,
    DryRun,
    Plugin,
    ShipCode,
    Storage,
    TrackingUri,
    changed,
    command_line,
    console,
    find_tracking_uri,
    say,
    storage_option,
    use_plugins,
)
from sweeps.commands.stop_after import StopAfter, limited
from sweeps.comparison.plan import Training, expected_trainings, make_plan
from sweeps.comparison.study_file import StudySpec, load_study
from sweeps.records.folder import SweepFolder
from sweeps.space.bundled import find_file
from sweeps.space.settings import SweepSettings
from sweeps.workers.warm_imports import importing

if TYPE_CHECKING:
    from sweeps.comparison.run import Outcome, StudyRequest

File = Annotated[
    Path, typer.Argument(help="Study: a file, or the name of a bundled one (hcl files).")
]
Name = Annotated[
    str | None, typer.Option(show_default="the file's name", help="Name of the study.")
]
Show = Annotated[
    bool, typer.Option("--show", help="Write the verdict of what is there; train nothing.")
]


def study(
    context: typer.Context,
    file: File,
    change: Changes = None,
    name: Name = None,
    stop_after: StopAfter = None,
    dry_run: DryRun = False,
    show: Show = False,
    address: Address = None,
    ship_code: ShipCode = False,
    plugin: Plugin = None,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
    data_root: DataRoot = None,
) -> None:
    """Compare methods as a referee would: equal effort, fresh seeds and orders, one verdict.

    Each method is swept under one protocol, the best of each is confirmed on fresh seeds, and
    exact paired tests say what the numbers show. After an interruption the same command resumes
    it; what has finished is never run again. Files are written to STORAGE/studies/NAME.

    \b
    Examples:
      hcl study split_digits-study --dry-run
      hcl study split_digits-study
      hcl study split_digits-study --set 'protocol={first_tasks: 2}' --name digits-first2

    \b
    Exit status: 0 complete, 1 some pairs have no result, 2 something to correct, 3 Ray itself
    died, 4 the time of --stop-after is over (after 3 and 4 the same command goes on), 130
    interrupted.
    """
    use_plugins(context, plugin, file)
    request = make_request(find_file(file, "study"), name, change, storage)
    uri = find_tracking_uri(request.folder, tracking_uri)
    request = replace(
        request, address=address, tracking_uri=uri, data_root=data_root, ship_code=ship_code
    )
    if dry_run:
        _show_plan(request)
    else:
        with limited(stop_after):
            run(request, show)


def make_request(
    path: Path, name: str | None, change: list[str] | None, storage: Path
) -> "StudyRequest":
    """Read and plan a study, to run on this machine.

    Raises:
        ConfigError: every mistake in it.
    """
    spec = load_study(path, name or path.stem, lambda values: changed(values, change))
    parts = tuple(make_plan(spec))
    with importing():
        from sweeps.comparison.run import StudyRequest

    return StudyRequest(spec, parts, SweepFolder(storage, spec.name), command=command_line())


def run(request: "StudyRequest", show: bool = False) -> None:
    """Run what is left of a study, or only `show` it; print the verdict and exit."""
    with importing():
        from sweeps.comparison.run import read_outcomes, run_study
        from sweeps.comparison.write import output_folder, write_verdict
        from sweeps.output.terminal import as_text

    if show:
        outcomes = read_outcomes(request)
        tables = write_verdict(request, outcomes)
    else:
        say(_describe_power(request.spec))
        outcomes, tables = run_study(request, console(), write_verdict)
    for table in tables:
        say(as_text(table))
    if not show:
        _record(request, outcomes)
    folder = request.folder
    say(f"the verdict as Markdown, LaTeX, CSV and a page: {output_folder(folder)}")
    say(f"the runs in MLflow: hcl ui {folder.name}{storage_option(folder)}")
    pairs = request.spec.confirmation.pairs
    raise typer.Exit(0 if all(len(one.results) == pairs for one in outcomes) else 1)


def _record(request: "StudyRequest", outcomes: "Sequence[Outcome]") -> None:
    """Add what needs several methods' runs to MLflow; an outage costs the verdict nothing."""
    from sweeps.comparison.references import record_references

    try:
        record_references(request, outcomes)
    except ConfigError as error:
        say(
            f"forward transfer and intransigence: {error}; the same command sends them",
            stderr=True,
        )


def _show_plan(request: "StudyRequest") -> None:
    """Print what would be run, and what it could show."""
    from sweeps.cluster.connection import connected
    from sweeps.comparison.run import check_study, missing_pairs

    with connected(request.address, request.ship_code):
        todo = check_study(request)
    spec, sweeps = request.spec, request.sweeps()
    say(f"study {spec.name}: {len(spec.methods)} methods, protocol {spec.protocol}")
    for name, sweep in sweeps.items():
        state = "to run" if name in todo else "finished"
        say(f"sweep {name}: {spec.effort}, {len(sweep.space.parameters)} searched, {state}")
    seeds = spec.confirmation.seeds
    count = len(request.parts) * len(seeds)
    say(f"then the best of each on the seeds {seeds[0]} to {seeds[-1]}: {count} trainings")
    say(_describe_power(spec))
    if todo:
        show_cost(list(expected_trainings(spec, request.parts, todo)), request.data_root, spec)
    else:
        missing = [(seed.config.method_name, seed.config, 1) for seed in missing_pairs(request)]
        say(f"{count - len(missing)} of them are there")
        show_cost(missing, request.data_root, spec)


def show_cost(trainings: list[Training], data_root: str | None, spec: StudySpec) -> None:
    """Print what trainings of a study would take on this machine, by steps timed here."""
    from hcl import Runtime
    from sweeps.cluster import cost
    from sweeps.output.metric_names import duration
    from sweeps.output.terminal import as_text

    if not trainings:
        return
    sweep = SweepSettings(**spec.sweep)
    device = "cuda" if sweep.gpus_per_trial else "cpu"
    runtime = Runtime(device=device, threads=sweep.cpus_per_trial, data_root=data_root)
    needs = cost.measure(cost.group(trainings), runtime)
    notes = ["what the searches will choose is not known: their points_to_evaluate stand for it"]
    say(as_text(cost.table("Trainings, estimated", needs, device, notes)))
    if (total := cost.sum_hours(needs)) is not None:
        more = ", and the searches' core-hours" if spec.effort.core_hours else ""
        say(f"about {duration(3600 * total)} one after the other{more}")


def _describe_power(spec: StudySpec) -> str:
    from sweeps.output.statistics.paired import describe_power

    return f"what it can show: {describe_power(spec.confirmation.pairs, spec.num_tests)}"
