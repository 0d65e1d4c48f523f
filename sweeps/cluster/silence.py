"""Trials of which nothing is heard: named, with what their processes do and what to do about it.

Nothing is killed here. Only a person knows whether a trial is slow or hangs.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import ray
from ray._private.state import actors
from ray.exceptions import RayError
from ray.tune import Callback
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.records.journal import FILE_NAME
from sweeps.workers.process_state import ProcessState, process_state

EVERY = 10.0  # seconds between two looks at all trials
LEAST = 300.0  # seconds of silence that are never too long
TIMES = 10.0  # a longer silence is too long if it is this many times the longest one so far
ANSWER_IN = 60.0  # seconds in which a node must say what a process does
MAY_BE_SLOW = "it computes, so it may be slow"


class Question(Protocol):
    """A question to a trial's node, which may take a while to answer."""

    def answer(self, is_last: bool) -> str | None:
        """Return what is the matter and what to do; None while unknown, unless it is the last."""


class AskNode:
    """Asks the node of a trial what the trial's process does.

    Args:
        trial: Ray's trial, whose process runs.
    """

    def __init__(self, trial: Any) -> None:
        found = actors(trial.temporary_state.ray_actor._actor_id.hex())
        self._pid, address = found["Pid"], found["Address"]
        self._node = address["IPAddress"]
        there = NodeAffinitySchedulingStrategy(address["NodeID"], soft=False)
        look = ray.remote(process_state).options(num_cpus=0, scheduling_strategy=there)
        self._task = look.remote(self._pid)

    def answer(self, is_last: bool) -> str | None:
        """Return what is the matter and what to do; None while unknown, unless it is the last."""
        ready, _ = ray.wait([self._task], timeout=0)
        with suppress(RayError):
            if ready:
                return describe(ray.get(ready[0]), self._pid, self._node)
        if not ready and not is_last:
            return None
        return f"its node {self._node} does not answer; Ray starts it elsewhere once that is sure"


def describe(state: ProcessState, pid: int, node: str) -> str:
    """Say what a process does, and how to end it."""
    again = f"kill -9 {pid} on {node} starts it again from its last checkpoint"
    if state.is_stopped:
        return f"its process is stopped: kill -CONT {pid} on {node} lets it go on, and {again}"
    if not state.letter:
        return "its process has ended, which Ray notices soon"
    if state.is_idle:
        return f"its process is alive and does nothing: {again}"
    return f"{MAY_BE_SLOW}; {again}"


@dataclass
class _Heard:
    """The last sign of life of a trial.

    Attributes:
        at: when, in seconds of the clock.
        files: times of its files then.
        asked: when the question was asked that waits for its answer, and the question.
        patience: seconds of silence after which it is asked again.
    """

    at: float
    files: list[float] = field(default_factory=list)
    asked: tuple[float, Question] | None = None
    patience: float = 0.0


class SilenceCallback(Callback):
    """Ray's callback that names a trial of which nothing is heard for far longer than usual.

    A trial is heard when it reports, and when it writes a checkpoint or a journal.

    Args:
        say: takes one line for the user.
        folders: gives the folders of the seeds of a trial, by its number.
        ask: asks a trial's node.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        folders: Callable[[int], Sequence[Path]],
        ask: Callable[[Any], Question] = AskNode,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._folders, self._ask, self._clock = say, folders, ask, clock
        self._heard: dict[int, _Heard] = {}
        self._longest = 0.0  # seconds between two signs of life of any trial
        self._next = 0.0

    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Note a sign of life."""
        if (heard := self._heard.get(trial.config["number"])) is not None:
            self._note(heard, self._clock())

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        """Look at all trials that run, now and then."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + EVERY
        running = {trial.config["number"]: trial for trial in trials if _has_process(trial)}
        self._heard = {number: self._heard.get(number) or _Heard(now) for number in running}
        for number, heard in self._heard.items():
            files = [_modified(folder) for folder in self._folders(number)]
            if files != heard.files:
                heard.files = files
                self._note(heard, now)
            elif heard.asked is not None:
                self._hear_answer(number, heard, now)
            elif now - heard.at > max(LEAST, TIMES * self._longest, heard.patience):
                with suppress(RayError):  # the head does not answer: Watchdog sees to that
                    heard.asked = (now, self._ask(running[number]))

    def _note(self, heard: _Heard, now: float) -> None:
        if not heard.asked and not heard.patience:  # a hang is no measure of what is usual
            self._longest = max(self._longest, now - heard.at)
        heard.at, heard.asked, heard.patience = now, None, 0.0

    def _hear_answer(self, number: int, heard: _Heard, now: float) -> None:
        assert heard.asked is not None
        when, question = heard.asked
        found = question.answer(is_last=now - when > ANSWER_IN)
        if found is None:
            return
        silence = now - heard.at
        heard.asked, heard.patience = None, 2 * silence
        # Before anything was heard of any trial nobody knows what is slow.
        if self._longest or MAY_BE_SLOW not in found:
            usual = f" (at most {self._longest:.0f} s before)" if self._longest else ""
            self._say(f"trial {number}: no news for {silence:.0f} s{usual}; {found}")

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles its callbacks to disk; tasks and a display cannot go with them.
        return {}


def _has_process(trial: Any) -> bool:
    return trial.status == "RUNNING" and trial.temporary_state.ray_actor is not None


def _modified(folder: Path) -> float:
    """Return when a seed last wrote a checkpoint or its journal; 0 before."""
    times = [0.0]
    for path in (folder / FILE_NAME, folder / "checkpoints"):
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times)
