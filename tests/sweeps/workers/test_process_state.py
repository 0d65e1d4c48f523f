"""Real processes that compute, wait, are stopped or have ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from sweeps.workers.process_state import process_state

Start = Callable[[str], int]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program that prints a line first; return its number."""
    processes = []

    def run(program: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", f"print(flush=True)\n{program}"], stdout=subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        return process.pid

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_one_that_computes_uses_the_processor(start: Start) -> None:
    state = process_state(start("while True: pass"), seconds=0.5)
    assert not state.is_idle and not state.is_stopped and state.cores <= 1.1


def test_one_that_waits_is_idle(start: Start) -> None:
    state = process_state(start("import time; time.sleep(100)"), seconds=0.3)
    assert state.is_idle and not state.is_stopped and state.letter == "S"


def test_one_that_was_stopped_is_told_apart(start: Start) -> None:
    pid = start("while True: pass")
    os.kill(pid, signal.SIGSTOP)
    state = process_state(pid, seconds=0.3)
    assert state.is_stopped and state.is_idle


def test_one_that_has_ended_is_none(start: Start) -> None:
    pid = start("")
    os.waitpid(pid, 0)
    assert process_state(pid, seconds=0.0).letter == ""
