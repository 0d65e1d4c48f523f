"""Journals delivered to a real MLflow on sqlite, and read back."""

import errno
import math
from pathlib import Path
from typing import Any

import pytest
from journals import CLOCK, end_fields, matrices_of, start_fields, task_fields, write_journal
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from stored import artifacts, points, the_run

from sweeps.records.journal import Journal
from sweeps.tracking import (
    Store,
    accuracy_matrices,
    close_runs,
    deliver,
    end_sweep,
    runs_frame,
    start_sweep,
    sweep_settings,
)
from sweeps.tracking.database import connect

# The first test makes the database: a second alone, more on a busy machine.
pytestmark = pytest.mark.timeout(60)


def test_a_whole_journal_becomes_a_whole_run(store: Store, tmp_path: Path) -> None:
    folder = write_journal(tmp_path)
    assert deliver(store, folder, None)
    run = the_run(store)
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (CLOCK * 1000, (CLOCK + 4) * 1000)
    assert run.info.run_name == "HNET · split_digits · trial 0 · seed 1"
    assert run.data.params == {
        "benchmark/name": "split_digits",
        "benchmark/num_tasks": "3",
        "scenario": "task",
        "eval_scenarios": "task,class",
        "method/name": "hnet",
        "method/beta": "0.01",
        "method/hidden_sizes": "10,10",
        "seed": "1",
    }
    expected_tags = {
        "method": "hnet",
        "benchmark": "split_digits",
        "scenario": "task",
        "seed": "1",
        "trial": "0",
        "phase": "search",
        "sweep": "demo",
        "git_commit": "0123abc",
        "git_dirty": "False",
        "mlflow.source.git.commit": "0123abc",
        "versions/torch": "2.15.0",
        "delivered": "5",
    }
    assert expected_tags.items() <= run.data.tags.items()
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("split_digits", "f" * 36)


def test_the_matrix_becomes_series_and_artifacts(store: Store, tmp_path: Path) -> None:
    assert deliver(store, write_journal(tmp_path), None)
    series = points(store)
    rows = matrices_of()["test/task"]
    assert series["test/task/acc/task_01"] == [(2, 2.0, rows[1][1]), (3, 3.0, rows[2][1])]
    assert series["tasks_learned"] == [(1, 1.0, 1.0), (2, 2.0, 2.0), (3, 3.0, 3.0)]
    # The final average is the last running one: no second point at the same step.
    assert [step for step, _, _ in series["test/task/average_accuracy"]] == [1, 2, 3]
    assert series["compression_ratio"] == [(3, 4.0, 0.5)]
    names = artifacts(store)
    assert names[:2] == ["accuracy.json", "accuracy.md"]
    # At step 0, where the UI's image grid opens; each as PNG and as thumbnail.
    assert [name.split("+timestamp")[0] for name in names[2:]] == [
        *["images/accuracy_matrix+step+0"] * 2,
        *["images/accuracy_matrix_class+step+0"] * 2,
    ]
    matrices = accuracy_matrices(store, the_run(store).info.run_id)
    assert matrices == matrices_of()


def test_a_delivery_after_every_record_equals_one_at_the_end(store: Store, tmp_path: Path) -> None:
    once = write_journal(tmp_path, "demo/0001/seed_1")
    assert deliver(store, once, None)
    journal, matrices = Journal(tmp_path / "demo/0000/seed_1"), matrices_of()
    journal.append("start", **start_fields())
    for learned in (1, 2, 3):
        journal.append("task", **task_fields(matrices, learned))
        assert deliver(store, journal.path.parent, None)
        assert the_run(store).info.status == "RUNNING"
    journal.append("end", **end_fields(matrices))
    for _ in range(3):
        assert deliver(store, journal.path.parent, None)
    assert points(store) == points(store, "demo/0001/seed_1")
    assert len(artifacts(store)) == len(artifacts(store, "demo/0001/seed_1")) == 6


def test_an_average_summed_in_another_order_is_delivered_once(
    store: Store, tmp_path: Path
) -> None:
    folder, matrices = tmp_path / "seed_1", matrices_of()
    journal = Journal(folder)
    journal.append("start", **start_fields())
    for learned in (1, 2, 3):
        journal.append("task", **task_fields(matrices, learned))
    end = end_fields(matrices)
    average = end["metrics"]["test/task/average_accuracy"]
    end["metrics"]["test/task/average_accuracy"] = math.nextafter(average, 1)
    journal.append("end", **end)
    assert deliver(store, folder, None)
    series = points(store)["test/task/average_accuracy"]
    assert [step for step, _, _ in series] == [1, 2, 3] and series[-1][2] == average


def test_a_task_reported_twice_counts_once(store: Store, tmp_path: Path) -> None:
    journal, matrices = Journal(tmp_path), matrices_of()
    journal.append("start", **start_fields())
    journal.append("task", **task_fields(matrices, 1))
    assert deliver(store, tmp_path, None)
    journal.append("resume", time=CLOCK + 50)
    journal.append("task", **task_fields(matrices, 1) | {"time": CLOCK + 51})
    journal.append("task", **task_fields(matrices, 2) | {"time": CLOCK + 52})
    assert deliver(store, tmp_path, None)
    assert [(p[0], p[1]) for p in points(store)["tasks_learned"]] == [(1, 1.0), (2, 52.0)]


def test_long_sequences_keep_only_headline_series(store: Store, tmp_path: Path) -> None:
    assert deliver(store, write_journal(tmp_path, **{"benchmark/num_tasks": 21}), None)
    series = points(store)
    assert not [name for name in series if "/acc/" in name]
    assert len(series["test/task/average_accuracy"]) == 21
    assert len(accuracy_matrices(store, the_run(store).info.run_id)["test/task"]) == 21


def test_more_params_than_one_request_takes(store: Store, tmp_path: Path) -> None:
    many = {f"method/option_{i}": i for i in range(150)}
    assert deliver(store, write_journal(tmp_path, **many), None)
    assert len(the_run(store).data.params) == 158


def test_a_failed_trial_is_failed_until_it_goes_on(store: Store, tmp_path: Path) -> None:
    folder = write_journal(tmp_path, tasks=1)
    journal, matrices = Journal(folder), matrices_of()
    journal.append("failed", reason="task 1, step 7: loss/task is nan", status="FAILED")
    assert deliver(store, folder, None)
    run = the_run(store)
    assert (run.info.status, run.data.tags["failure"]) == (
        "FAILED",
        "task 1, step 7: loss/task is nan",
    )
    journal.append("resume")
    assert deliver(store, folder, None)
    assert the_run(store).info.status == "RUNNING"
    journal.append("task", **task_fields(matrices, 2))
    journal.append("task", **task_fields(matrices, 3))
    journal.append("end", **end_fields(matrices))
    assert deliver(store, folder, None)
    assert the_run(store).info.status == "FINISHED"
    assert "failure" not in the_run(store).data.tags


def test_values_that_are_not_finite_are_left_out(store: Store, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append("start", **start_fields())
    journal.append("task", tasks_learned=1, metrics={"loss/task": float("inf"), "a": 0.5})
    assert deliver(store, tmp_path, None)
    assert set(points(store)) == {"tasks_learned", "a"}


def test_sweep_run_is_the_parent_and_is_found_again(store: Store, tmp_path: Path) -> None:
    sweep = "nested"
    parent = start_sweep(store, sweep, {"num_trials": 2}, {"command": "hcl sweep x.yaml"})
    folder = write_journal(tmp_path, "nested/0000/seed_1")
    assert deliver(store, folder, parent)
    assert the_run(store, "nested/0000/seed_1").data.tags["mlflow.parentRunId"] == parent
    picture = tmp_path / "best.md"
    picture.write_text("best")
    end_sweep(store, parent, "FINISHED", {"best": 0.97}, [picture])
    assert connect(store).get_run(parent).info.status == "FINISHED"
    assert start_sweep(store, sweep, {"num_trials": 4}, {}) == parent
    run = connect(store).get_run(parent)
    assert run.info.status == "RUNNING"
    assert (run.data.params["num_trials"], run.data.tags["num_trials"]) == ("2", "4")
    assert sweep_settings(store, sweep)["num_trials"] == "4"
    assert sweep_settings(store, "no such sweep") == {}


def test_runs_frame_reads_runs_back(store: Store, tmp_path: Path) -> None:
    for trial, beta in enumerate((0.01, 0.1)):
        for seed in (1, 2):
            key = f"frame/{trial:04d}/seed_{seed}"
            assert deliver(store, write_journal(tmp_path, key, **{"method/beta": beta}), None)
    assert deliver(store, write_journal(tmp_path, "frame/0002/seed_1", tasks=2), None)
    frame = runs_frame(store, "frame")
    assert frame["tags.trial"].tolist() == [0, 0, 1, 1, 2]
    assert frame["tags.seed"].tolist() == [1, 2, 1, 2, 1]
    assert frame["method/beta"].tolist() == [0.01, 0.01, 0.1, 0.1, 0.01]
    assert frame["method/hidden_sizes"].tolist() == ["10,10"] * 5
    assert frame["tasks_learned"].tolist() == [3, 3, 3, 3, 2]
    assert frame["num_tasks"].tolist() == [3] * 5
    assert frame["status"].tolist() == ["FINISHED"] * 4 + ["RUNNING"]
    assert frame["test/task/average_accuracy"].iloc[0] == pytest.approx(0.97)
    assert set(frame["run_id"]) <= set(runs_frame(store)["run_id"])


def test_runs_frame_reads_page_after_page(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trial in range(5):
        assert deliver(store, write_journal(tmp_path, f"paged/{trial:04d}/seed_1", tasks=0), None)
    monkeypatch.setattr("sweeps.tracking.read_runs._PAGE", 2)
    assert runs_frame(store, "paged")["tags.trial"].tolist() == [0, 1, 2, 3, 4]


def test_an_empty_store_gives_an_empty_frame(store: Store) -> None:
    frame = runs_frame(store, "nothing")
    assert len(frame) == 0
    assert {"run_id", "status", "tasks_learned", "num_tasks"} <= set(frame.columns)


def test_close_runs_leaves_no_run_running(store: Store, tmp_path: Path) -> None:
    parent = start_sweep(store, "dead", {}, {})
    folder = write_journal(tmp_path, "dead/0000/seed_1", tasks=1)
    assert deliver(store, folder, parent)
    assert deliver(store, write_journal(tmp_path, "dead/0001/seed_1"), parent)
    assert close_runs(store, "dead") == 1
    assert runs_frame(store, "dead")["status"].tolist() == ["KILLED", "FINISHED"]
    assert deliver(store, folder, parent)  # nothing new: it stays closed
    assert the_run(store, "dead/0000/seed_1").info.status == "KILLED"


def test_a_run_whose_disk_was_full_right_after_it_was_made_is_closed_too(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def log_batch(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", log_batch)
        assert not deliver(store, write_journal(tmp_path, "full/0000/seed_1", tasks=1), None)
    assert the_run(store, "full/0000/seed_1").info.status == "RUNNING"
    assert close_runs(store, "full") == 1
    assert the_run(store, "full/0000/seed_1").info.status == "KILLED"


def test_a_data_set_that_another_run_registers_at_the_same_moment_is_asked_for_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, calls = MlflowClient.log_inputs, []

    def log_inputs(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise MlflowException("UNIQUE constraint failed: datasets.name")
        send(*args)

    monkeypatch.setattr(MlflowClient, "log_inputs", log_inputs)
    assert deliver(store, write_journal(tmp_path), None)
    assert len(calls) == 2 and len(the_run(store).inputs.dataset_inputs) == 1


def test_a_trial_that_outlives_its_driver_is_delivered_and_stays_closed(
    store: Store, tmp_path: Path
) -> None:
    folder = write_journal(tmp_path, "late/0000/seed_1", tasks=1)
    assert deliver(store, folder, None)
    assert close_runs(store, "late") == 1
    journal = Journal(folder)
    journal.append("task", **task_fields(matrices_of(), 2))
    assert deliver(store, folder, None)
    run = the_run(store, "late/0000/seed_1")
    assert run.info.status == "KILLED" and run.data.metrics["tasks_learned"] == 2
    journal.append("resume")
    assert deliver(store, folder, None)
    assert the_run(store, "late/0000/seed_1").info.status == "RUNNING"
