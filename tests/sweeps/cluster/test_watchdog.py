"""The watchdog over a real Ray whose processes are killed and frozen."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from whole_sweeps import child_of, wait_for

from sweeps.cluster.watchdog import LOST, SILENT

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


STARTING = """
from sweeps.cluster.connection import started
print("starting", flush=True)
with started(None):
    print("started", flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("name", "lost"), [("raylet", "Ray's node process"), ("gcs_server", "Ray's head process")]
)
def test_a_process_of_ray_that_dies_while_ray_starts_is_a_sentence(name: str, lost: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STARTING], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline() == "starting\n"
        wait_for(lambda: has_child(process.pid, "raylet"))  # the last one that Ray starts
        os.kill(child_of(process.pid, name), signal.SIGKILL)
        began = time.monotonic()
        out, err = process.communicate(timeout=100)
        assert (process.returncode, out) == (LOST, ""), err
        assert err == (
            f"hcl: {lost} died while Ray started; nothing is lost, go on with the same command\n"
        )
        assert time.monotonic() - began < 25  # Ray itself takes 30 or 60 s
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def has_child(pid: int, name: str) -> bool:
    with suppress(AssertionError):
        return child_of(pid, name) > 0
    return False
