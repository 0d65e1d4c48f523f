"""Delivery to a real MLflow server that is killed while it takes a run."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from journals import end_fields, matrices_of, start_fields, task_fields, write_journal

from sweeps.journal import Journal
from sweeps.tracking import Store, deliver, prepare, runs_frame, start_sweep
from sweeps.tracking.store import connect

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


class Server:
    """`mlflow server` on 127.0.0.1; the whole process group dies, as workers outlive a parent."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", f"{self.folder}/artifacts"]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with open(self.folder / "server.log", "a") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | quiet,
                start_new_session=True,
            )
        until(self.is_up, 120)

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def until(condition: Any, seconds: float, pause: float = 0.2) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


def content(store: Store, key: str) -> dict[str, Any]:
    """All that the server holds of a run, but for its name, seed and ids."""
    client = connect(store)
    experiment = client.get_experiment_by_name(store.experiment)
    (run,) = client.search_runs([experiment.experiment_id], f"tags.run_key = '{key}'")
    run_id = run.info.run_id
    files = client.list_artifacts(run_id) + client.list_artifacts(run_id, "images")
    own = ("run_key", "trial", "mlflow.runName")
    return {
        "status": run.info.status,
        "times": (run.info.start_time, run.info.end_time),
        "params": run.data.params,
        "tags": {name: value for name, value in run.data.tags.items() if name not in own},
        "data": [entry.dataset.digest for entry in run.inputs.dataset_inputs],
        "points": {
            name: [(p.step, p.timestamp, p.value) for p in client.get_metric_history(run_id, name)]
            for name in run.data.metrics
        },
        # The server names a picture's files by itself: compare how they begin and end.
        "files": sorted((f.path.split("+")[0], f.path.rpartition(".")[2]) for f in files),
    }


def test_a_run_survives_the_server_being_killed_under_it(server: Server, tmp_path: Path) -> None:
    store = Store(server.uri, None, "demo")
    prepare(store)
    parent = start_sweep(store, "demo", {"num_trials": 2}, {})
    assert deliver(store, write_journal(tmp_path, "demo/0001/seed_1"), parent)

    journal, matrices = Journal(tmp_path / "demo/0000/seed_1"), matrices_of()
    folder = journal.path.parent
    journal.append("start", **start_fields())
    journal.append("task", **task_fields(matrices, 1))
    assert deliver(store, folder, parent)
    for learned in (2, 3):
        journal.append("task", **task_fields(matrices, learned))
    journal.append("end", **end_fields(matrices))

    # Kill as soon as the second run's first artifact is there: the delivery is under way.
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(deliver(store, folder, parent)))
    thread.start()
    until(lambda: len(list(tmp_path.glob("artifacts/**/accuracy.json"))) == 2, 60, pause=0.001)
    server.kill()
    thread.join()
    assert taken == [False]

    began = time.monotonic()
    assert not deliver(store, folder, parent)
    assert time.monotonic() - began < 5

    server.start()
    assert deliver(store, folder, parent)
    assert content(store, "demo/0000/seed_1") == content(store, "demo/0001/seed_1")
    assert deliver(store, folder, parent)
    assert content(store, "demo/0000/seed_1") == content(store, "demo/0001/seed_1")
    frame = runs_frame(store, "demo")
    assert frame["tasks_learned"].tolist() == [3, 3]
