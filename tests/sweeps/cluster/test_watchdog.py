"""The watchdog over a real Ray whose processes are killed and frozen."""

import os
import signal
import subprocess
import sys
import time

import pytest
from whole_sweeps import child_of

from sweeps.cluster.watchdog import SILENT

PROGRAM = """
import os, sys, time
from sweeps.cluster.connection import started
here = started(None)
here.__enter__()
from sweeps.cluster.watchdog import Watchdog

def lost(what):
    print(what, flush=True)
    os._exit(3)

with Watchdog(lost):
    print("watching", flush=True)
    time.sleep(float(sys.argv[1]))
print("nothing was lost", flush=True)
os._exit(0)
"""


def start_watching(seconds: float = 120) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(seconds)], stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "watching\n"
    return process


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("raylet", signal.SIGKILL, "Ray's node process died"),
        ("gcs_server", signal.SIGKILL, "Ray's head process died"),
        ("gcs_server", signal.SIGSTOP, f"Ray's head process has not answered for {SILENT:.0f} s"),
    ],
)
def test_a_lost_process_of_ray_is_noticed_in_half_a_minute(
    name: str, number: int, said: str
) -> None:
    process = start_watching()
    try:
        victim = child_of(process.pid, name)
        began = time.monotonic()
        os.kill(victim, number)
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out.splitlines()[-1]) == (3, said)
        assert time.monotonic() - began < 32
    finally:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_healthy_ray_is_left_alone() -> None:
    process = start_watching(seconds=20)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.strip()) == (0, "nothing was lost")
