"""A sweep whose MLflow server is away for a minute, or for good."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import Server
from whole_sweeps import (
    NAME,
    check_same,
    check_whole,
    finish,
    matrices,
    mlflow_matrices,
    rows_of,
    start,
    trainer_of,
    wait_for,
)

from sweeps import tracking
from sweeps.tracking import Store

AWAY = 60.0  # seconds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]


def test_a_server_that_is_down_for_a_minute_costs_nothing(
    server: Server, files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    sweep = start(files, storage, "--tracking-uri", server.uri)
    wait_for(lambda: rows_of(storage, 0) >= 1 and rows_of(storage, 1) >= 1)
    server.kill()
    killed = time.monotonic()
    wait_for(lambda: rows_of(storage, 0) >= 2)  # it learns on
    # These trials take seconds: hold them, or the sweep ends within the minute.
    trainers = [trainer_of(storage, number) for number in (0, 1)]
    for trainer in trainers:
        os.kill(trainer, signal.SIGSTOP)
    time.sleep(max(0.0, killed + AWAY - time.monotonic()))
    server.start()
    for trainer in trainers:
        os.kill(trainer, signal.SIGCONT)
    out = finish(sweep)
    assert "hcl sync" not in out
    check_whole(storage, server.uri)
    check_same(storage, undisturbed)
    settings = tracking.sweep_settings(Store(server.uri, None, NAME), NAME)
    assert settings["sweep/num_trials"] == "4"


def test_a_server_that_dies_for_good_is_made_good_by_hcl_sync(
    server: Server, files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    sweep = start(files, storage, "--tracking-uri", server.uri)
    wait_for(lambda: rows_of(storage, 0) >= 1)
    server.kill()
    out = finish(sweep)
    waiting = "MLflow did not take 4 runs yet; nothing is lost: hcl sync tiny"
    assert any(line.startswith(waiting) for line in out.splitlines())
    assert out.splitlines()[-1] == "4 of 4 trials ended"
    check_same(storage, undisturbed)

    (tmp_path / "new").mkdir()
    for other in (server, Server(tmp_path / "new")):  # the same one again, and one that is empty
        other.start()
        try:
            for _ in range(2):  # the second time there is nothing to do
                synced = sync(storage, other)
                assert synced.returncode == 0, synced.stdout + synced.stderr
                assert "tiny: MLflow has 4 of 4 runs" in synced.stdout
                check_whole(storage, other.uri)
            assert mlflow_matrices(storage, other.uri) == matrices(undisturbed)
            check_parent(other.uri)
        finally:
            other.kill()


def sync(storage: Path, server: Server) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sweeps.cli", "sync", NAME, "--storage", str(storage)]
    command += ["--tracking-uri", server.uri]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def check_parent(uri: str) -> None:
    """Check that the sweep's own run is as complete as its trials'."""
    (run,) = tracking.read_runs.all_runs(Store(uri, None, NAME), "tags.kind = 'sweep'")
    assert run.info.status == "FINISHED"
    assert run.data.params["sweep/num_trials"] == "4"
    assert run.data.params["method/name"] == "hnet"
    assert run.data.tags["description"] == "tiny" and "sweep" in run.data.tags["command"]
    assert run.data.metrics["trials_done"] == 4.0 and "best_objective" in run.data.metrics
