"""One sweep under faults, from its first start until no driver is needed any more."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.soak import processes
from bench.soak.checks import Sample
from bench.soak.faults import FAULTS, Scene
from bench.soak.record import Record

TICK = 0.5  # seconds between two looks
BARREN = 8  # starts in a row without progress after which a sweep is given up
PAUSE = 2.0  # seconds until a person has typed the command again
KILLED = -9
RAY_LOST = 3
NOT_RETRIED = "failed: its process died ("
SENTENCES = {  # exit status of a sweep that is not done -> its last line
    1: re.compile("trials ended"),
    2: re.compile("^hcl: "),
    RAY_LOST: re.compile("^hcl: .*go on with the same command"),
}


@dataclass
class Schedule:
    """When the next fault is due, and its kind.

    Attributes:
        choose: gives the next kind.
        every: seconds between two faults.
        until: monotonic time after which nothing is broken any more.
    """

    choose: Callable[[], str]
    every: float
    until: float

    def __post_init__(self) -> None:
        self.kind, self.due = self.choose(), time.monotonic() + self.every

    def is_due(self) -> bool:
        """Whether a fault is due."""
        return self.due <= time.monotonic() < self.until

    def advance(self) -> None:
        """Choose the next one, after a fault was made."""
        self.kind, self.due = self.choose(), time.monotonic() + self.every


class SweepUnderFaults:
    """Runs a driver, breaks things, starts it again whenever it ended too early.

    Args:
        scene: what there is to break.
        schedule: of the faults.
        trials: of the sweep.
        record: of the whole soak.
        deadline: monotonic time at which the sweep is given up.
        silent: seconds without progress after which a driver counts as hanging.
    """

    def __init__(
        self,
        scene: Scene,
        schedule: Schedule,
        trials: int,
        record: Record,
        deadline: float,
        silent: float,
    ) -> None:
        self.scene, self.driver, self.schedule = scene, scene.driver, schedule
        self.trials, self.record, self.deadline = trials, record, deadline
        self.silent = silent
        self._barren = 0
        self._killed: dict[str, int] = {}  # "driver", "raylet" or "hang" -> the driver's process

    def run(self) -> None:
        """Return when the sweep is done, or was given up."""
        self._start()
        while True:
            time.sleep(TICK)
            self.scene.repair()
            if self.driver.status is not None:
                if self._ended():
                    return
                time.sleep(PAUSE)
                self._start()
            self._measure()
            self._break()
            if time.monotonic() > self.deadline:
                self.record.violation("the sweep did not end in time", self.driver)
                processes.kill(self.scene.sweep_processes())
                return

    def _start(self) -> None:
        self.driver.start()
        self._moved = time.monotonic()
        self._progress = self._at_start = self.driver.progress()

    def _ended(self) -> bool:
        """Judge a driver's end; return whether it was the last one."""
        driver, status, output = self.driver, self.driver.status, self.driver.output()
        self.record.ends[str(status)] += 1
        done = driver.results()
        if "Traceback" in output:
            self.record.violation("a stack trace", driver)
        if status == 0:
            if done != self.trials:
                self.record.violation(f"status 0 with {done} of {self.trials} results", driver)
            return True
        if NOT_RETRIED in output:  # `sweep.max_failures` allows two more deaths
            self.record.violation(
                "a trial failed when its process died for the first time", driver
            )
        if not self._is_explained(status, output):
            self.record.violation(f"exit status {status}, which nothing explains", driver)
        moved = driver.set_aside_what_is_named()
        self.record.say(f"{driver.folder.name}: the driver ended with status {status}"
                        + f"; set aside: {', '.join(moved)}" * bool(moved))  # fmt: skip
        self._barren = 0 if moved or driver.progress() != self._at_start else self._barren + 1
        if self._barren == BARREN:
            self.record.violation(f"given up after {BARREN} starts without progress", driver)
        return self._barren == BARREN

    def _is_explained(self, status: int | None, output: str) -> bool:
        """Whether the status is one that we caused or that the last line tells a person."""
        if status == KILLED:
            return self.driver.pid in (self._killed.get("driver"), self._killed.get("hang"))
        if status == RAY_LOST and self.driver.pid != self._killed.get("raylet"):
            return False
        last = (output.strip().splitlines() or [""])[-1]
        return bool(SENTENCES[status].search(last)) if status in SENTENCES else False

    def _measure(self) -> None:
        """Take a sample of the driver; end it where it makes no progress."""
        driver, now, progress = self.driver, time.monotonic(), self.driver.progress()
        if progress != self._progress:
            self._moved, self._progress = now, progress
        if driver.status is None and progress != self._at_start:
            mb, descriptors = processes.resident_mb(driver.pid), processes.descriptors(driver.pid)
            if mb and descriptors:
                self.record.samples.append(Sample(self.record.seconds, mb, descriptors))
        if driver.status is None and now - self._moved > self.silent:
            self.record.violation(f"the driver made no progress for {self.silent:.0f} s", driver)
            self._killed["hang"] = driver.pid
            processes.kill(self.scene.sweep_processes())

    def _break(self) -> None:
        schedule, pid = self.schedule, self.driver.pid
        if not schedule.is_due() or pid == self._killed.get("raylet"):
            return  # a driver without Ray must end by itself: the next fault would hide that
        kind = schedule.kind
        if what := FAULTS[kind](self.scene):
            self._killed[kind] = pid
            self.record.fault(kind, what, self.driver)
            schedule.advance()
