"""Progress that a person can follow: trials done, the best, time left, what runs.

What matters most comes first, for a narrow terminal cuts the line.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ray.tune import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from sweeps.output.metric_names import describe_metric, duration
from sweeps.records.journal import Journal
from sweeps.records.report_keys import FAILURE, NUM_TASKS, OBJECTIVE, TASKS_LEARNED

PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal
LIVE_EVERY = 0.5  # seconds between updates on a terminal
LOOK_EVERY = 5.0  # seconds between looks at the journals of running trials
NAMED = 8  # running trials that a line names; with more it adds them up


class Size(NamedTuple):
    """Amount of work of a trial: tasks of each seed, seeds, and its share of all work."""

    tasks: int
    seeds: int = 1
    work: float = 1.0

    def learned(self, tasks: Sequence[int]) -> float:
        """Say how much of the work is done after these tasks of its seeds."""
        return self.work * sum(tasks) / (self.tasks * self.seeds)


@dataclass
class Counts:
    """Trials of a sweep so far, those of earlier starts included.

    Attributes:
        total: trials of the whole sweep.
        size: of every trial, where `sizes` says nothing else.
        mode: "max" or "min"; "" where no value is better than another.
        objective: name of the value, which says how it is shown.
        done: trials with a value.
        failed: trials without one.
        stopped: trials given up early.
        refused: numbers of trials that were not trained; the search's own list, which grows.
        best: objective and trial number.
        sizes: of each trial by its number, where they differ.
        running: trial number -> tasks learned by each of its seeds that has begun.
        stop_at: when a time limit ends this start, in seconds of the monotonic clock.
        started: when this start began, likewise.
    """

    total: int
    size: Size
    mode: str
    objective: str = ""
    done: int = 0
    failed: int = 0
    stopped: int = 0
    refused: Sequence[int] = ()
    best: tuple[float, int] | None = None
    sizes: Sequence[Size] = ()
    running: dict[int, Sequence[int]] = field(default_factory=dict)
    stop_at: float | None = None
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._left = sum(size.work for size in self.sizes) or float(self.total - self.ended)
        self._all = self._left
        self._pace = 0.0, self.started  # what this start has done, and when it had

    @property
    def ended(self) -> int:
        """Trials that were trained and have ended, one way or another."""
        return self.done + self.failed + self.stopped

    def stop(self, number: int) -> None:
        """Count a trial that was given up early, whose value is not comparable."""
        self._leave(number)
        self.stopped += 1

    def end(self, number: int, value: float | None) -> None:
        """Count a trial that ended with this objective, or without one."""
        self._leave(number)
        if value is None or value != value:
            self.failed += 1
            return
        self.done += 1
        sign = {"max": 1, "min": -1}.get(self.mode)
        if sign and (self.best is None or sign * value > sign * self.best[0]):
            self.best = (value, number)

    def seconds_left(self, now: float) -> float | None:
        """Estimate by the pace of this start; None before its first task.

        The pace is that of the last task learned: between two tasks the estimate counts down,
        to what is left after the tasks under way where these take longer.
        """
        learned = sum(self._size(n).learned(tasks) for n, tasks in self.running.items())
        passed = self._all - self._left + learned
        if passed != self._pace[0]:
            self._pace = passed, now
        if not passed:
            return None
        left = self._left - learned - len(self.refused)
        after = left - sum(self._size(number).learned([1]) for number in self.running)
        pace = (self._pace[1] - self.started) / passed
        return max(pace * left - (now - self._pace[1]), pace * after, 0.0)

    def _leave(self, number: int) -> None:
        """Take a trial that ended from those that run."""
        self.running.pop(number, None)
        self._left -= self._size(number).work

    def _size(self, number: int) -> Size:
        return self.sizes[number] if self.sizes else self.size

    def line(self, now: float) -> str:
        """Say everything in one line."""
        parts = [f"{self.done}/{self.total} trials done"]
        if self.best:
            parts.append(
                f"best {describe_metric(self.objective, self.best[0])} (trial {self.best[1]})"
            )
        parts += self._time(now) if self.running else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.stopped} stopped early"] if self.stopped else []
        parts += [f"{len(self.refused)} refused"] if self.refused else []
        return ", ".join([*parts, f"{len(self.running)} running{self._tasks()}"])

    def _time(self, now: float) -> list[str]:
        """Say how long it takes, and when a time limit stops it before."""
        left = self.seconds_left(now)
        said = [f"about {duration(left)} left"] if left else []
        if self.stop_at is not None and (left is None or now + left > self.stop_at):
            return [f"stops in {duration(max(0.0, self.stop_at - now))}", *said]
        return said

    def _tasks(self) -> str:
        """Say what each running trial has learned, or all together where they are many."""
        if not self.running:
            return ""
        if len(self.running) > NAMED:
            learned = sum(map(sum, self.running.values()))
            every = sum(size.tasks * size.seeds for size in map(self._size, self.running))
            return f" ({learned} of their {every} tasks learned)"
        return f" ({', '.join(map(self._place, self.running))})"

    def _place(self, number: int) -> str:
        """Name the first seed of a trial that has not learned all tasks, and its tasks."""
        learned, size = self.running[number] or (0,), self._size(number)
        at = next((i for i, k in enumerate(learned) if k < size.tasks), len(learned) - 1)
        seed = f"seed {at + 1}/{size.seeds}, " if size.seeds > 1 else ""
        return f"trial {number}: {seed}{learned[at]}/{size.tasks} tasks"


class ProgressCallback(Callback):
    """Ray's callback that shows a bar on a terminal and lines elsewhere.

    Args:
        counts: the sweep's, updated here.
        console: where the progress goes.
        folders: gives the folders of the seeds of a trial, by its number. Their journals say
            what is learned: also before a restart, and of the seeds that report nothing.
        max_failures: retries of each trial, see `gave_up_early`.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        counts: Counts,
        console: Console,
        folders: Callable[[int], Sequence[Path]],
        max_failures: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts, self.console, self.clock = counts, console, clock
        self.folders, self.max_failures = folders, max_failures
        self._bar: Progress | None = None
        self._next = self._next_look = 0.0
        self._shown = ""
        self._deaths: Counter[int] = Counter()
        self._died_now: set[int] = set()  # in Ray's present step
        self._early: list[int] = []

    def setup(self, *args: Any, **info: Any) -> None:
        """Begin."""
        if self.console.is_terminal:
            self._bar = _bar(self.console)
            self._task = self._bar.add_task("", total=self.counts.total, line="")
            self._bar.start()

    def gave_up_early(self, number: int) -> bool:
        """Say whether Ray gives up a trial that still has retries.

        A worker is used for several trials. When it dies between two of them, Ray handles that
        death twice in one step: it queues the next trial again, and then gives it up.
        """
        return number in self._died_now and self._deaths[number] <= self.max_failures

    def take_early(self) -> list[int]:
        """Return the trials that Ray gave up early, to be run again; each is returned once."""
        early, self._early = self._early, []
        return early

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Count a trial that begins, or goes on after its process died."""
        self._look(trial.config["number"])

    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Count a learned task."""
        self._look(trial.config["number"])

    def _look(self, number: int) -> None:
        learned = map(Journal.count_tasks, map(Journal, self.folders(number)))
        self.counts.running[number] = tuple(learned)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Count a trial that ended with a value, or with a failure that it reported itself."""
        last = trial.last_result or {}
        if FAILURE not in last and last.get(TASKS_LEARNED, 0) < last.get(NUM_TASKS, 0):
            self.counts.stop(trial.config["number"])
            return
        value = None if FAILURE in last else last.get(OBJECTIVE)
        self.counts.end(trial.config["number"], value)
        if FAILURE in last:
            self.say(f"trial {trial.config['number']} failed: {last[FAILURE]}")

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Tell of a trial whose process died and that is started again."""
        number = trial.config["number"]
        self._deaths[number] += 1
        self._died_now.add(number)
        self.say(f"trial {number}: its process died; it goes on from its last checkpoint")

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Count a trial whose process died once too often."""
        number = trial.config["number"]
        if self.gave_up_early(number):
            self.counts.running.pop(number, None)
            self._early.append(number)
            return
        self.counts.end(number, None)
        self.say(f"trial {number} failed: see its journal")

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        """Show progress, not more often than the console deserves."""
        self._died_now.clear()
        now = self.clock()
        if now >= self._next_look and len(self.counts.running) <= NAMED:
            self._next_look = now + LOOK_EVERY
            for number in self.counts.running:
                self._look(number)
        if now >= self._next:
            self._next = now + (LIVE_EVERY if self._bar else PLAIN_EVERY)
            self.show(now)

    def on_experiment_end(self, trials: list, **info: Any) -> None:
        """Show the last line; Ray has ended or was interrupted."""
        self.show(self.clock())
        self.close()

    def show(self, now: float) -> None:
        """Write the current line, unless it is the last one written."""
        line = self.counts.line(now)
        if self._bar:
            self._bar.update(
                self._task, completed=self.counts.ended + len(self.counts.refused), line=line
            )
        elif line != self._shown:
            self.console.print(line, soft_wrap=True, highlight=False)
        self._shown = line

    def close(self) -> None:
        """Stop the bar, which leaves the terminal as it was."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        console = self._bar.console if self._bar else self.console
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles its callbacks to disk; a terminal cannot go with them.
        return {}


def _bar(console: Console) -> Progress:
    bar = [BarColumn(20 if console.width >= 120 else 8)] if console.width >= 80 else []
    return Progress(*bar, TextColumn("{task.fields[line]}"), console=console)
