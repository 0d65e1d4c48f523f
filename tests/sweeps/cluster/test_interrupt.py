"""The time limit of a command, which stops Ray Tune like a first Ctrl-C."""

import signal
import time

import pytest

from sweeps.cluster.tuner import Interrupt, TimeIsUp, time_limit
from sweeps.commands.stop_after import limited, parse_time

# pytest-timeout's other way uses the alarm clock that is tested here.
pytestmark = pytest.mark.timeout(60, method="thread")


def soon() -> float:
    return time.monotonic() + 0.05


@pytest.mark.parametrize(
    ("text", "seconds"), [("8h", 28800), ("90m", 5400), ("1h30m", 5400), ("2d1s", 172801)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_time(text) - time.monotonic() == pytest.approx(seconds, abs=5)


def test_before_tune_listens_the_block_is_left() -> None:
    with time_limit(soon()), Interrupt() as interrupt:
        with pytest.raises(TimeIsUp), interrupt.within_limit():
            time.sleep(30)
        assert interrupt.requested and interrupt.is_time_up
        assert isinstance(interrupt.error(), TimeIsUp)


def test_while_tune_listens_it_is_told_once() -> None:
    told = []
    with time_limit(soon()), Interrupt() as interrupt:
        before = signal.signal(signal.SIGUSR1, lambda number, frame: told.append(number))
        try:
            with interrupt.within_limit():
                time.sleep(1)
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert told == [signal.SIGUSR1] and interrupt.is_time_up


def test_the_end_is_written_undisturbed() -> None:
    """What follows the block, which closes the runs, is never interrupted by the clock."""
    with time_limit(time.monotonic() + 0.5), Interrupt() as interrupt:
        with interrupt.within_limit():
            pass
        time.sleep(0.7)
    assert not interrupt.requested


def test_a_limit_that_is_over_stops_the_next_part_at_once() -> None:
    over = time_limit(time.monotonic() - 1)
    with over, Interrupt() as interrupt, pytest.raises(TimeIsUp), interrupt.within_limit():
        time.sleep(30)


def test_the_command_has_its_own_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    from typer import Exit

    with pytest.raises(Exit) as caught, limited(soon()):
        raise TimeIsUp
    assert caught.value.exit_code == 4
    assert capsys.readouterr().out == (
        "stopped: the time of --stop-after is over; go on with the same command\n"
    )
