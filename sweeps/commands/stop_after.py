"""`--stop-after`: a time limit for a command, which the same command resumes later."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from hcl.config import ConfigError
from sweeps.commands.options import say

TIME_IS_UP = 4  # exit status
UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
FORM = re.compile(r"(?:\d{1,6}[dhms])+")


def parse_time(text: str) -> float:
    """Read `8h`, `90m`, `1h30m` or `2d`: the moment to stop at, of the monotonic clock.

    Raises:
        ConfigError: it is something else, or no time at all.
    """
    parts = re.findall(r"(\d+)([dhms])", text) if FORM.fullmatch(text) else []
    seconds = sum(int(count) * UNITS[unit] for count, unit in parts)
    if not seconds:
        raise ConfigError(f"--stop-after {text!r}: write a time such as 8h, 90m, 1h30m or 2d")
    return time.monotonic() + seconds


StopAfter = Annotated[
    float | None,
    typer.Option(
        "--stop-after",
        metavar="TIME",
        parser=parse_time,
        help="Stop cleanly after this time (8h, 1h30m); the same command goes on.",
    ),
]


@contextmanager
def limited(stop_at: float | None) -> Iterator[None]:
    """Limit the time of what runs inside; after that the command ends with TIME_IS_UP."""
    from sweeps.cluster.tuner import TimeIsUp, time_limit

    try:
        with time_limit(stop_at):
            yield
    except TimeIsUp:
        say("stopped: the time of --stop-after is over; go on with the same command")
        raise typer.Exit(TIME_IS_UP) from None
