"""The one call of Ray Tune, shared by sweeps and fixed trials, and the signals that stop it.

The first Ctrl-C, SIGTERM or SIGHUP stops a sweep in order, the second at once. SIGHUP comes when
the terminal is closed. Under `nohup` it stays ignored. A time limit stops it like a first Ctrl-C.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from ray import tune
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError

from sweeps.cluster.local_ray import replaced
from sweeps.cluster.progress import ProgressCallback
from sweeps.cluster.resources import needs
from sweeps.cluster.silence import SilenceCallback
from sweeps.records.folder import SweepFolder
from sweeps.space.settings import SweepSettings

STOPPING = b"\nstopping cleanly, up to 15 s; Ctrl-C again stops now\n"
TIME_OVER = b"\nthe time of --stop-after is over; stopping cleanly, up to 15 s\n"
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


_limits: list[float] = []  # the time limit of this process, which has one alarm clock


class TimeIsUp(KeyboardInterrupt):
    """The time limit is over, and everything was stopped cleanly."""


@contextmanager
def time_limit(stop_at: float | None) -> Iterator[None]:
    """Let every `Interrupt` within stop at this moment of the monotonic clock; None = never."""
    _limits[:] = [] if stop_at is None else [stop_at]
    try:
        yield
    finally:
        _limits.clear()


def ends_at() -> float | None:
    """Return the moment at which the time limit is over; None where there is none."""
    return _limits[0] if _limits else None


def run_trials(
    trainable: Callable[[dict[str, Any]], None],
    settings: SweepSettings,
    folder: SweepFolder,
    progress: ProgressCallback,
    folders: Callable[[int], Sequence[Path]],
    param_space: dict[str, Any] | None = None,
    **choice: Any,
) -> None:
    """Run every trial; return when all have ended or were interrupted.

    Args:
        trainable: what a trial does.
        settings: resources and retries of each.
        folder: the sweep's, in which Ray keeps its own state; no later start reads it.
        progress: shows every event; closed at the end.
        folders: gives the folders of a trial's seeds, by the trial's number.
        param_space: values of the trials, where no search algorithm gives them.
        choice: arguments of `tune.TuneConfig`: who chooses trials, how many, how many at a time.
    """
    tuner = tune.Tuner(
        tune.with_resources(trainable, needs(settings)),
        param_space=param_space,
        tune_config=tune.TuneConfig(reuse_actors=True, **choice),
        run_config=tune.RunConfig(
            name=f"{time.time():.0f}",  # a new one for each start
            storage_path=str(folder.path / "ray"),
            failure_config=tune.FailureConfig(max_failures=settings.max_failures),
            callbacks=[progress, SilenceCallback(progress.say, folders)],
            verbose=0,
        ),
    )
    try:
        with replaced(RayActorManager, "_actor_task_failed", _task_failed):
            tuner.fit()
    finally:
        progress.close()


_tunes_own = RayActorManager._actor_task_failed


def _task_failed(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
    """Tell Tune that a worker died which Ray killed because its node was full.

    Tune takes this one error for its own and would end the sweep with it; the process is as dead
    as after any kill.
    """
    if isinstance(exception, OutOfMemoryError):
        exception = RayActorError(error_msg="its node ran out of memory")
    _tunes_own(self, tracked_actor_task, exception)


def stop_tune() -> None:
    """End the loop of Ray Tune, which handles this signal, and keep the trials as they are."""
    signal.raise_signal(signal.SIGUSR1)


class Interrupt:
    """A context in which a signal stops Ray Tune between two of its steps.

    Attributes:
        requested: whether a signal came, or the time was over.
        is_time_up: whether the time was over first.
    """

    def __init__(self) -> None:
        self.requested = self.is_time_up = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        for number in (*STOPS, signal.SIGUSR1):
            self._before[number] = signal.getsignal(number)
        # Python lets no other thread than the main one handle signals.
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                if number != signal.SIGHUP or self._before[number] != signal.SIG_IGN:
                    signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @contextmanager
    def within_limit(self) -> Iterator[None]:
        """Stop as on a first Ctrl-C once the time limit is over, unless this block has ended."""
        stop_at = ends_at()
        if stop_at is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGALRM, self._ring)
        try:
            signal.setitimer(signal.ITIMER_REAL, max(stop_at - time.monotonic(), 0.001))
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def error(self) -> KeyboardInterrupt:
        """Make the error that says what came."""
        return TimeIsUp() if self.is_time_up else KeyboardInterrupt()

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            return
        self.requested = self.is_time_up = True
        with suppress(OSError):
            os.write(1, TIME_OVER)
        if not self._tune_listens():
            raise TimeIsUp
        stop_tune()

    def _tune_listens(self) -> bool:
        return signal.getsignal(signal.SIGUSR1) != self._before[signal.SIGUSR1]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        signal.alarm(0)  # while Ray starts its C++ part hears SIGTERM first, and sets one to abort
        if self.requested or not self._tune_listens():
            self.requested = True
            raise KeyboardInterrupt
        self.requested = True
        with suppress(OSError):  # nobody reads any more
            os.write(1, STOPPING)  # a handler may not print: it may have interrupted a print
        stop_tune()
