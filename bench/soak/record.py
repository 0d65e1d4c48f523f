"""What a soak has seen so far: faults, ends of drivers, samples, violations."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.soak.checks import Sample
from bench.soak.driver import Driver

LINES = 30  # of a driver's output that a violation keeps
BEFORE = 3  # faults that a violation names


@dataclass
class Record:
    """Everything that is counted, with the time since the start of the soak.

    Attributes:
        faults: kind, what was done, when, and to which sweep.
        violations: what did not hold, the faults before it and the driver's last lines.
        samples: the driver's memory and descriptors.
        ends: exit status -> how many drivers ended with it.
    """

    faults: list[dict[str, Any]] = field(default_factory=list)
    violations: list[dict[str, Any]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return round(time.monotonic() - self.began, 1)

    def say(self, text: str) -> None:
        """Print a line of progress."""
        print(f"{self.seconds:7.1f} s  {text}", flush=True)

    def fault(self, kind: str, what: str, driver: Driver) -> None:
        """Count a fault and print it."""
        name = driver.folder.name
        self.faults.append({"kind": kind, "what": what, "at_s": self.seconds, "sweep": name})
        self.say(f"{name} ({driver.results()} done, start {driver.starts})  {kind}: {what}")

    def violation(self, what: str, driver: Driver | None = None) -> None:
        """Count something that does not hold and print it."""
        before = [f"{f['at_s']} s {f['sweep']} {f['what']}" for f in self.faults[-BEFORE:]]
        found = {"what": what, "at_s": self.seconds, "faults_before": before}
        if driver is not None:
            found |= {"sweep": driver.folder.name, "start": driver.starts}
            found["output"] = driver.output().splitlines()[-LINES:]
        self.violations.append(found)
        self.say(f"VIOLATION {driver.folder.name if driver else ''}: {what}")
