"""Delivery to a real MLflow server that is killed while it takes a run."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from journals import end_fields, matrices_of, start_fields, task_fields, write_journal
from servers import Server, until

from sweeps.records.journal import Journal
from sweeps.tracking import Store, deliver, deliver_all, prepare, runs_frame, start_sweep
from sweeps.tracking.database import connect
from sweeps.tracking.delivery import AT_A_TIME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def content(store: Store, key: str) -> dict[str, Any]:
    """Read all that the server holds of a run, except its name, seed and ids."""
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


def test_many_journals_are_delivered_at_a_time_and_each_once(
    server: Server, tmp_path: Path
) -> None:
    store = Store(server.uri, None, "demo")
    prepare(store)
    keys = [f"demo/{number:04d}/seed_1" for number in range(2 * AT_A_TIME)]
    folders = [write_journal(tmp_path, key, names=("test/task",)) for key in keys]
    (folders[3] / "journal.jsonl").write_text("damaged\n")
    whole = [number != 3 for number in range(len(keys))]
    for _ in range(2):
        assert deliver_all(store, folders, None) == whole
    frame = runs_frame(store, "demo")
    assert sorted(frame["tags.run_key"]) == [k for k, w in zip(keys, whole, strict=True) if w]
    assert set(frame["tasks_learned"]) == {3} and set(frame["status"]) == {"FINISHED"}
    first, last = (content(store, key) for key in (keys[0], keys[-1]))
    assert first == last


def test_a_configuration_of_many_settings_arrives_whole(server: Server, tmp_path: Path) -> None:
    """More settings than a request may have go before the points."""
    store, many = Store(server.uri, None, "demo"), {f"method/{n}": n for n in range(150)}
    prepare(store)
    assert deliver(store, write_journal(tmp_path, names=("test/task",), **many), None)
    params = content(store, "demo/0000/seed_1")["params"]
    assert {key: params[key] for key in many} == {key: str(n) for key, n in many.items()}
