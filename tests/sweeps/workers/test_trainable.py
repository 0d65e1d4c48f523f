"""A trial without Ray: its seeds, reports and journals, found results, outages."""

import json
import math
import socket
from pathlib import Path
from typing import Any

import pytest
from made import train_seed

from hcl import TaskReport, TrainingDiverged
from hcl.config import ConfigError
from sweeps import tracking
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.space.search_space import SearchSpace, parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.tracking import Store
from sweeps.workers import seed_records
from sweeps.workers.context import RunContext
from sweeps.workers.seed import TrialFailed
from sweeps.workers.trainable import TrialPlan, run_trial

pytestmark = [
    # MLflow's database models use what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    # The first test imports torch and MLflow and makes the database.
    pytest.mark.timeout(60),
]

TEXT = """
trial:
  benchmark: {name: split_digits, num_tasks: 3, val_fraction: 0.2}
  target: {hidden_sizes: [8]}
  method: {name: si}
  train: {iterations: 5, batch_size: 8}
search:
  method/c: {type: float, low: 0.1, high: 10.0, log: true}
  train/lr: {type: float, low: 1e-4, high: 1e+30, log: true}
sweep: {seeds: [1, 2]}
"""
PARAMS = {"method/c": 1.0, "train/lr": 0.01}
DIVERGING = {"method/c": 1.0, "train/lr": 1e29}


def space(**sweep: Any) -> SearchSpace:
    return parse(parse_yaml(TEXT), "tiny").with_sweep(**sweep)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = tracking.local_store(tmp_path_factory.mktemp("mlflow"), "tiny")
    tracking.prepare(made)
    return made


def plan(folder: Path, store: Store, used: SearchSpace | None = None) -> TrialPlan:
    context = RunContext(sweep=f"tiny-{folder.name}", store=store)
    return TrialPlan(used or space(), SweepFolder(folder, "tiny"), context)


def reports(used: TrialPlan, params: dict[str, Any] = PARAMS) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    run_trial(used, 7, params, told.append)
    return told


def kinds(used: TrialPlan, seed: int) -> list[str]:
    return [r["kind"] for r in Journal(used.folder.seed_folder(7, seed)).records()]


def test_rows_of_the_first_seed_and_the_mean_of_all_are_reported(
    tmp_path: Path, store: Store
) -> None:
    used = plan(tmp_path, store)
    told = reports(used)
    assert [(row["tasks_learned"], row["num_tasks"]) for row in told] == [(1, 3), (2, 3), (3, 3)]
    final = {}
    for seed in (1, 2):
        folder = used.folder.seed_folder(7, seed)
        final[seed] = json.loads((folder / "result.json").read_text())
        assert kinds(used, seed) == ["start", "task", "task", "task", "end"]
        assert final[seed]["config"]["seed"] == seed
    values = [result["metrics"]["val/task/average_accuracy"] for result in final.values()]
    assert told[-1]["objective"] == sum(values) / 2
    first = final[1]["accuracy"]["val/task"]
    assert [row["objective"] for row in told[:2]] == [
        pytest.approx(sum(row) / len(row)) for row in first[:2]
    ]


def test_a_finished_seed_is_not_trained_again(tmp_path: Path, store: Store) -> None:
    used = plan(tmp_path, store)
    before = reports(used)
    assert reports(used) == before[-1:]
    assert kinds(used, 1) == ["start", "task", "task", "task", "end"]


def test_a_journal_starts_with_the_identity_of_its_seed(tmp_path: Path, store: Store) -> None:
    used = plan(tmp_path, store)
    reports(used)
    start = Journal(used.folder.seed_folder(7, 2)).records()[0]
    config = used.space.trial_config(PARAMS, seed=2)
    assert start["run_key"] == f"tiny-{tmp_path.name}/0007/seed_2"
    assert (start["trial"], start["seed"], start["phase"]) == (7, 2, "search")
    assert start["params"] == config.to_dict()
    assert start["tags"]["config_id"] == config.digest(without_seed=True)
    assert start["tags"]["config_digest"] == config.digest()


def test_divergence_is_a_reported_failure_that_names_the_seed(
    tmp_path: Path, store: Store
) -> None:
    used = plan(tmp_path, store)
    told = reports(used, DIVERGING)
    assert len(told) == 1 and math.isnan(told[0]["objective"])
    assert told[0]["failure"].startswith("seed 1: the ")
    assert told[0]["tasks_learned"] < told[0]["num_tasks"]
    assert kinds(used, 1) == ["start", "failed"]
    assert kinds(used, 2) == []  # the other seed is not trained in vain
    frame = tracking.runs_frame(store, f"tiny-{tmp_path.name}")
    assert list(frame["status"]) == ["FAILED"]


def test_an_objective_known_only_at_the_end_has_no_values_on_the_way(
    tmp_path: Path, store: Store
) -> None:
    used = space(objective="val/task/forgetting", mode="min", seeds=[1])
    told = reports(plan(tmp_path, store, used))
    assert [math.isnan(row["objective"]) for row in told] == [True, True, False]


@pytest.mark.parametrize("metric", ["learning_accuracy", "backward_transfer"])
def test_every_objective_is_measured(tmp_path: Path, store: Store, metric: str) -> None:
    used = space(objective=f"val/task/{metric}", seeds=[1])
    assert math.isfinite(reports(plan(tmp_path, store, used))[-1]["objective"])


def config_of(seed: int = 1) -> Any:
    return space().trial_config(PARAMS, seed)


def test_unexpected_errors_are_raised_for_ray_to_retry_and_then_go_on(
    tmp_path: Path, store: Store
) -> None:
    def full_disk(row: TaskReport) -> None:
        if row.tasks_learned == 2:
            raise OSError("no space left on device")

    context = RunContext("tiny-errors", store)
    folder = tmp_path / "seed_1"
    with pytest.raises(OSError, match="no space left"):
        train_seed(config_of(), context, folder, 0, on_task=full_disk)
    assert Journal(folder).records()[-1]["reason"] == "OSError: no space left on device"
    rows: list[int] = []
    train_seed(config_of(), context, folder, 0, on_task=lambda r: rows.append(r.tasks_learned))
    assert rows == [2, 3]  # the first task was in a checkpoint
    frame = tracking.runs_frame(store, "tiny-errors")
    assert list(frame["status"]) == ["FINISHED"]
    assert "tags.failure" not in frame or frame["tags.failure"].isna().all()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory: no details"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory:"),
        (ConfigError("mnist.npz: is missing"), "mnist.npz: is missing"),
        (TrainingDiverged("the loss is nan"), "the loss is nan"),
    ],
)
def test_a_failure_that_would_come_again_is_not_retried(
    tmp_path: Path, store: Store, error: Exception, reason: str
) -> None:
    def fail(row: TaskReport) -> None:
        raise error

    context = RunContext("tiny-again", store)
    with pytest.raises(TrialFailed, match=reason):
        train_seed(config_of(), context, tmp_path / "seed_1", 0, on_task=fail)
    assert Journal(tmp_path / "seed_1").records()[-1]["kind"] == "failed"


def test_another_configurations_result_is_refused(tmp_path: Path, store: Store) -> None:
    context = RunContext("tiny-other", store)
    train_seed(config_of(1), context, tmp_path, 0)
    with pytest.raises(ConfigError, match="holds another configuration's result"):
        train_seed(config_of(2), context, tmp_path, 0)


def test_a_dead_server_costs_nothing_but_delay(tmp_path: Path, store: Store) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dead = Store(f"http://127.0.0.1:{port}", None, "tiny")
    result = train_seed(config_of(), RunContext("tiny-dead", dead), tmp_path, 0)
    assert [r["kind"] for r in Journal(tmp_path).records()][-1] == "end"
    assert tracking.deliver(store, tmp_path, None)  # later, to one that answers
    frame = tracking.runs_frame(store, "tiny-dead")
    assert list(frame["status"]) == ["FINISHED"]
    value = result.metrics["test/task/average_accuracy"]
    assert frame["test/task/average_accuracy"][0] == pytest.approx(value)


def test_while_the_server_is_down_it_is_not_asked_for_every_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def refuse(store: Store, folder: Path, parent: str | None) -> bool:
        asked.append(folder)
        return False

    monkeypatch.setattr(seed_records, "deliver", refuse)
    train_seed(config_of(), RunContext("x", Store("http://127.0.0.1:9", None, "x")), tmp_path, 0)
    assert len(asked) == 2  # at the start and at the end
