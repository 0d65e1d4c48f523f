"""Processes of Ray itself are killed or frozen under a sweep."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nodes import running_cluster
from whole_sweeps import (
    NAME,
    check_same,
    check_whole,
    child_of,
    finish,
    is_alive,
    parent_of,
    rows_of,
    runs,
    start,
    trainer_of,
    wait_for,
)

from sweeps.cluster.watchdog import LOST

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]


def end_of_lost(sweep: subprocess.Popen[str]) -> str:
    """The last line on stderr of a sweep that lost its Ray, which must come in half a minute."""
    began = time.monotonic()
    out, err = sweep.communicate(timeout=100)
    assert sweep.returncode == LOST, out + err
    assert "Traceback" not in out + err
    assert time.monotonic() - began < 45  # of which 30 until it is noticed, under load
    return err.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "lost"),
    [("raylet", "Ray's node process died"), ("gcs_server", "Ray's head process died")],
)
def test_a_sweep_whose_ray_dies_ends_with_a_sentence_and_goes_on(
    files: Path, undisturbed: Path, tmp_path: Path, name: str, lost: str
) -> None:
    storage = tmp_path / "storage"
    sweep = start(files, storage)
    wait_for(lambda: rows_of(storage, 0) >= 1)
    trainer, raylet = trainer_of(storage, 0), child_of(sweep.pid, "raylet")
    os.kill(child_of(sweep.pid, name), signal.SIGKILL)
    assert end_of_lost(sweep) == f"hcl: {lost}; nothing is lost, go on with the same command"
    assert "RUNNING" not in set(runs(storage)["status"])
    wait_for(lambda: not is_alive(trainer) and not is_alive(raylet), seconds=30)
    out = finish(start(files, storage))
    assert "4 of 4 trials ended" in out.splitlines()[-1]
    check_whole(storage)
    check_same(storage, undisturbed)


def test_a_sweep_whose_cluster_loses_its_head_ends_with_a_sentence(
    files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    with running_cluster() as cluster:
        sweep = start(files, storage, "--address", cluster.address, **cluster.environment)
        wait_for(lambda: rows_of(storage, 0) >= 1)
        os.kill(child_of(cluster.process.pid, "gcs_server"), signal.SIGKILL)
        assert "nothing is lost, go on with the same command" in end_of_lost(sweep)
        cluster.process.kill()
    assert "RUNNING" not in set(runs(storage)["status"])
    with running_cluster() as cluster:
        finish(start(files, storage, "--address", cluster.address, **cluster.environment))
    check_whole(storage)
    check_same(storage, undisturbed)


def test_a_node_that_freezes_costs_only_time(
    files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    frozen: list[int] = []
    with running_cluster() as cluster:
        sweep = start(files, storage, "--address", cluster.address, **cluster.environment)
        try:
            wait_for(lambda: rows_of(storage, 0) >= 1 and rows_of(storage, 1) >= 1)
            trainer = trainer_of(storage, 0)
            frozen = [parent_of(trainer), trainer]
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            out = finish(sweep, seconds=600)
        finally:
            for pid in filter(is_alive, frozen):
                os.kill(pid, signal.SIGKILL)
    assert "4 of 4 trials ended" in out.splitlines()[-1]
    check_whole(storage)
    check_same(storage, undisturbed)


# The command with less patience: five seconds of silence instead of five minutes.
IMPATIENT = """
import sys
from sweeps.cluster import silence
silence.EVERY, silence.LEAST, silence.TIMES = 1.0, 5.0, 1.0
sys.argv[0] = "hcl"
from sweeps import cli
cli.main()
"""


def test_a_stopped_worker_is_named_with_what_to_do(
    files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", IMPATIENT, "sweep", str(files / f"{NAME}.yaml")]
    command += ["--num-trials", "4", "--storage", str(tmp_path)]
    sweep = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=files,
        start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: rows_of(tmp_path, 0) >= 1)
    trainer = trainer_of(tmp_path, 0)
    os.kill(trainer, signal.SIGSTOP)
    assert sweep.stdout is not None
    said = next(line for line in sweep.stdout if "is stopped" in line)
    assert said.startswith("trial 0: no news for ")
    remedy = f"kill -CONT {trainer} on 127.0.0.1 lets it go on, and kill -9 {trainer} on 127.0.0.1"
    assert remedy in said
    assert is_alive(trainer)  # nothing was killed
    os.kill(trainer, signal.SIGCONT)
    finish(sweep)
    check_whole(tmp_path)
    check_same(tmp_path, undisturbed)
