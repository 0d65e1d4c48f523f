"""`hcl confirm`: the best of a sweep on fresh seeds."""

from typing import Annotated

import typer

from hcl.config import plugins
from sweeps.commands.options import (
    STORAGE,
    Address,
    DataRoot,
    DryRun,
    ShipCode,
    Storage,
    StudyUrl,
    SweepName,
    TrackingUri,
    console,
    find_tracking_uri,
    parse_seeds,
    say,
)
from sweeps.commands.stop_after import StopAfter, limited
from sweeps.records.folder import SweepFolder
from sweeps.workers.warm_imports import importing

Top = Annotated[int, typer.Option(help="How many configurations.", min=1)]
Seeds = Annotated[
    str, typer.Option(help="Seeds that the search did not use: 101..105 or 101,102.")
]


def confirm(
    context: typer.Context,
    sweep: SweepName,
    top: Top = 1,
    seeds: Seeds = "101..105",
    stop_after: StopAfter = None,
    dry_run: DryRun = False,
    address: Address = None,
    ship_code: ShipCode = False,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
    study_url: StudyUrl = None,
    data_root: DataRoot = None,
) -> None:
    """Train a sweep's best configurations on fresh seeds: the numbers to report.

    The search chose by its validation value, which is partly luck. This shows test accuracy as
    mean ± SEM beside it. After an interruption the same command resumes it; with more seeds it
    trains only the new ones.

    \b
    Examples:
      hcl confirm split_digits-hnet
      hcl confirm split_digits-hnet --top 3 --seeds 101..110

    \b
    Exit status: 0 all trained, 1 some failed, 2 something to correct, 3 Ray itself died, 4 the
    time of --stop-after is over (after 3 and 4 the same command goes on), 130 interrupted.
    """
    fresh = parse_seeds(seeds) or []
    with importing():
        from sweeps.cluster.connection import connected
        from sweeps.launch import confirm as confirming
        from sweeps.launch.preflight import check_start
        from sweeps.launch.request import SweepRequest
        from sweeps.output.terminal import as_text

    folder = SweepFolder(storage, sweep)
    context.with_resource(plugins.importable(*folder.kept_code()))
    space = confirming.read_space(folder)
    confirming.check_seeds(space, fresh)
    url = confirming.searched_in(folder, study_url)
    uri = find_tracking_uri(folder, tracking_uri)
    request = SweepRequest(space, folder, address, uri, url, data_root)
    check_start(request, url)
    chosen = confirming.best_of(folder, space, top, url)
    done = confirming.count_done(request, chosen, fresh)
    with connected(address, ship_code):
        if dry_run:
            trials = ", ".join(str(one.number) for one in chosen)
            say(f"sweep {sweep}: trials {trials} on seeds {', '.join(map(str, fresh))}")
            say(f"{len(chosen) * len(fresh)} trainings, {done} are there")
            return
        with limited(stop_after):
            table, failed = confirming.confirm(request, chosen, fresh, console())
    say(as_text(table))
    raise typer.Exit(1 if failed else 0)
