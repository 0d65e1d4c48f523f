"""Looks at what a process of this node is doing; the driver asks when a trial is silent."""

import os
import time
from pathlib import Path
from typing import NamedTuple

SECONDS = 5.0  # over which the use of the processor is measured
IDLE = 0.01  # cores; a process that waits for something uses less


class ProcessState(NamedTuple):
    """State of a process.

    Attributes:
        letter: Linux' letter: "R" and "S" run and sleep, "D" waits for a disk, "T" is stopped,
            "Z" has ended; "" where there is no such process.
        cores: cores that it used on average while it was watched.
    """

    letter: str
    cores: float

    @property
    def is_stopped(self) -> bool:
        """Tell whether it was stopped (SIGSTOP, a debugger) and waits for SIGCONT."""
        return self.letter in ("T", "t")

    @property
    def is_idle(self) -> bool:
        """Whether it does nothing."""
        return self.cores < IDLE


def process_state(pid: int, seconds: float = SECONDS) -> ProcessState:
    """Watch a process for a while; without a /proc it seems to have ended.

    Args:
        pid: number of a process of this node.
        seconds: how long.
    """
    try:
        before = _read(pid)[1]
        time.sleep(seconds)
        letter, after = _read(pid)
    except OSError:
        return ProcessState("", 0.0)
    return ProcessState(letter, (after - before) / seconds)


def _read(pid: int) -> tuple[str, float]:
    """Return a process' letter and the seconds of processor time that it has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
