"""`hcl confirm`: the best of a sweep on fresh seeds."""

from typing import Annotated

import typer

from hcl.config import ConfigError
from sweeps.commands.options import (
    STORAGE,
    Address,
    DataRoot,
    ShipCode,
    Storage,
    StudyUrl,
    TrackingUri,
    absolute,
    console,
    find_store,
    numbers,
    say,
)
from sweeps.records.folder import SweepFolder

MOST = 1000  # seeds: a slip of the finger asks for more


def confirm(
    sweep: Annotated[str, typer.Argument(help="Name of the sweep.")],
    top: Annotated[int, typer.Option(help="How many configurations.", min=1)] = 1,
    seeds: Annotated[
        str, typer.Option(help="Seeds that the search did not use: 101..105 or 101,102.")
    ] = "101..105",
    address: Address = None,
    ship_code: ShipCode = False,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
    study_url: StudyUrl = None,
    data_root: DataRoot = None,
) -> None:
    """Train a sweep's best configurations on fresh seeds: the numbers to report.

    The search chose by its validation value, which is partly luck. This shows test accuracy as
    mean ± SEM beside it. Interrupted, it goes on; asked for more seeds, it trains those alone.

    \b
    Examples:
      hcl confirm split_digits-hnet
      hcl confirm split_digits-hnet --top 3 --seeds 101..110

    \b
    Exit status: 0 all trained, 1 some failed, 2 something to correct, 130 interrupted.
    """
    from sweeps.cluster.connection import connected
    from sweeps.launch import confirm as confirming
    from sweeps.launch.preflight import check_start

    folder, data = SweepFolder(storage, sweep), absolute(data_root)
    space = confirming.read_space(folder)
    chosen_seeds = parse_seeds(seeds)
    confirming.check_seeds(space, chosen_seeds)
    chosen = confirming.best_of(folder, space, top, study_url)
    store = find_store(storage, tracking_uri, sweep)
    check_start(space, folder, store, study_url, data, is_local=address is None)
    with connected(address, ship_code):
        table, failed = confirming.confirm(
            folder, space, chosen, chosen_seeds, store, console(), address, data
        )
    say(table.terminal())
    raise typer.Exit(1 if failed else 0)


def parse_seeds(text: str) -> list[int]:
    """`101..105` (both ends) or `101,102` as numbers.

    Raises:
        ConfigError: it is something else.
    """
    first, dots, last = text.partition("..")
    if not dots:
        return numbers(text, "--seeds") or []
    if not (first.isdecimal() and last.isdecimal() and 0 <= int(last) - int(first) < MOST):
        raise ConfigError(
            f"--seeds {text!r}: give a range from low to high, e.g. 101..105, at most {MOST} seeds"
        )
    return list(range(int(first), int(last) + 1))
