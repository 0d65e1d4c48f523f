"""A soak from its undisturbed sweep to its findings."""

import os
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.soak import processes
from bench.soak.checks import Left, differences, growth, read_left, thirds
from bench.soak.driver import SYNC, TRIAL_SECONDS, Driver, wait_for_end
from bench.soak.faults import Scene, order
from bench.soak.record import Record
from bench.soak.run_sweep import Schedule, SweepUnderFaults
from sweeps.records.folder import SweepFolder

UNDISTURBED = "undisturbed"
UNDER_LOAD = 1200.0  # seconds that the undisturbed sweep may take
FINISH = 300.0  # seconds that the last sweep may take once the faults have ended
LINGER = 60.0  # seconds after which nothing of an ended sweep may be left


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        minutes: how long things are broken.
        every: seconds between two faults.
        seed: of the faults.
        trials: of each sweep.
        iterations: training steps of each of a trial's five tasks.
        silent: seconds without progress after which a driver counts as hanging.
        only: kinds of faults; None = all.
    """

    minutes: float
    every: float
    seed: int
    trials: int
    iterations: int
    silent: float
    only: list[str] | None = None


class Soak:
    """Sweeps one after the other under faults, each compared with an undisturbed one.

    Args:
        plan: what is asked for.
        folder: of everything that is written.
        server: MLflow's, running.
        postgres: keeps the study of every second sweep; None = all are in sqlite.
    """

    def __init__(self, plan: Plan, folder: Path, server: Any, postgres: Any) -> None:
        self.plan, self.folder, self.server, self.postgres = plan, folder, server, postgres
        self.space = folder / "soak.yaml"
        self.space.write_text(TRIAL_SECONDS.format(trials=plan.trials, iterations=plan.iterations))
        (folder / "logs").mkdir()
        self.record = Record()
        self.sweeps: list[dict[str, Any]] = []

    def run(self) -> dict[str, Any]:
        """Run it all; return the findings."""
        whole, undisturbed = self._undisturbed()
        self.record.began = began = time.monotonic()
        until = began + 60 * self.plan.minutes
        schedule = Schedule(order(self.plan.seed, self.plan.only), self.plan.every, until)
        while time.monotonic() < until:
            self._sweep(schedule, whole)
        seconds = self.record.seconds
        self._check_leftovers()
        flat = thirds(self.record.samples)
        for words in growth(flat):
            self.record.violation(words)
        lost = sum(sweep["seconds"] - undisturbed for sweep in self.sweeps)
        return {
            "seconds": seconds,
            "undisturbed_seconds": round(undisturbed, 1),
            "seconds_lost": round(lost, 1),
            "faults": dict(Counter(fault["kind"] for fault in self.record.faults)),
            "driver_starts": sum(sweep["starts"] for sweep in self.sweeps),
            "driver_ends": dict(self.record.ends),
            "driver_flat": flat,
            "sweeps": self.sweeps,
            "violations": self.record.violations,
            "all_faults": self.record.faults,
        }

    def _undisturbed(self) -> tuple[Left, float]:
        driver = self._driver(UNDISTURBED, None)
        driver.start()
        seconds = wait_for_end(driver, UNDER_LOAD)
        whole = read_left(driver.folder, self.server.uri, None)
        assert len(whole.results) == len(whole.runs) == self.plan.trials, "it is not whole"
        self.record.say(f"undisturbed: {self.plan.trials} trials in {seconds:.0f} s")
        return whole, seconds

    def _sweep(self, schedule: Schedule, whole: Left) -> None:
        """Run a sweep to its end under faults, and compare what it left."""
        index, postgres = len(self.sweeps), None
        if self.postgres is not None and index % 2:
            postgres = self.postgres
            postgres.query("postgres", f"CREATE DATABASE soak{index:02d}")
        url = postgres.url(f"soak{index:02d}") if postgres else None
        driver = self._driver(f"soak{index:02d}", url)
        scene = Scene(driver, self.server, postgres, random.Random(f"{self.plan.seed} {index}"))
        began = time.monotonic()
        deadline = schedule.until + FINISH
        plan, record = self.plan, self.record
        SweepUnderFaults(scene, schedule, plan.trials, record, deadline, plan.silent).run()
        seconds = time.monotonic() - began
        scene.repair(all_now=True)
        found = self._compare(driver, whole)
        for words in found:
            self.record.violation(words, driver)
        self.sweeps.append({
            "name": driver.folder.name,
            "study": "PostgreSQL" if postgres else "sqlite",
            "seconds": round(seconds, 1),
            "starts": driver.starts,
            "set_aside": driver.set_aside,
            "differences": len(found),
        })  # fmt: skip
        self.record.say(
            f"{driver.folder.name} ended: {driver.starts} starts, {len(found)} differences"
        )

    def _compare(self, driver: Driver, whole: Left) -> list[str]:
        """Deliver what a message asks to deliver, read all records, say what differs."""
        deadline = time.monotonic() + 120
        while not self.server.is_up() and time.monotonic() < deadline:
            time.sleep(0.5)
        if SYNC in driver.output() and (wrong := driver.sync()):
            self.record.violation(wrong, driver)
        return differences(read_left(driver.folder, self.server.uri, driver.study_url), whole)

    def _driver(self, name: str, study_url: str | None) -> Driver:
        folder = SweepFolder(self.folder / "storage", name)
        return Driver(self.space, folder, self.server.uri, study_url, self.folder / "logs")

    def _check_leftovers(self) -> None:
        """Wait until no process of a sweep is left."""
        mark, deadline = os.environ[processes.MARK], time.monotonic() + LINGER
        while left := processes.marked(mark, but_session=self.server.process.pid):
            if time.monotonic() > deadline:
                named = ", ".join(f"{pid} {processes.command(pid)[:60]}" for pid in left)
                self.record.violation(f"left after {LINGER:.0f} s: {named}")
                return
            time.sleep(1)
