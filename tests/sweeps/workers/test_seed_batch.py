"""Seeds trained as replicas: each has its own journal, result, checkpoints and MLflow run."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from made import train_seed

from hcl import TaskReport
from hcl.results import Result
from sweeps import tracking
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.space.search_space import SearchSpace, parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.tracking import Store
from sweeps.workers.context import RunContext
from sweeps.workers.seed import TrialFailed
from sweeps.workers.seed_batch import group_seeds, train_replicas
from sweeps.workers.seed_records import Seed
from sweeps.workers.trainable import TrialPlan, run_trial

pytestmark = [
    # MLflow's database models use what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    # The first test imports torch and MLflow and makes the database.
    pytest.mark.timeout(120),
]

TEXT = """
trial:
  benchmark: {name: split_digits, num_tasks: 3, val_fraction: 0.2}
  target: {hidden_sizes: [8]}
  method: {name: hnet, chunk_size: 100}
  train: {iterations: 5, batch_size: 8, num_replicas: 3}
search:
  method/beta: {type: float, low: 0.1, high: 10.0, log: true}
  train/lr: {type: float, low: 1e-4, high: 1e+30, log: true}
sweep: {seeds: [1, 2, 3, 4]}
"""
PARAMS = {"method/beta": 1.0, "train/lr": 0.01}
ALL = ["start", "task", "task", "task", "end"]


def space(**sweep: Any) -> SearchSpace:
    return parse(parse_yaml(TEXT), "tiny").with_sweep(**sweep)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = tracking.local_store(tmp_path_factory.mktemp("mlflow"), "tiny")
    tracking.prepare(made)
    return made


def seeds_in(folder: Path, *numbers: int, params: Any = PARAMS) -> list[Seed]:
    configs = [space().trial_config(params, seed) for seed in numbers]
    return [Seed(config, folder / f"seed_{config.seed}", 7) for config in configs]


def kinds(seed: Seed) -> list[str]:
    return [record["kind"] for record in Journal(seed.folder).records()]


def test_each_seed_has_its_own_records(tmp_path: Path, store: Store) -> None:
    context = RunContext("own", store)
    seeds = seeds_in(tmp_path, 1, 2, 3)
    ends = train_replicas(seeds, context)
    for seed, end in zip(seeds, ends, strict=True):
        assert isinstance(end, Result) and end.versions["replicas"] == "3"
        assert kinds(seed) == ALL
        assert json.loads((seed.folder / "result.json").read_text()) == end.to_dict()
        assert len(list((seed.folder / "checkpoints").glob("*.pt"))) == 1
        alone = train_seed(
            seed.config, RunContext("alone", store), tmp_path / f"alone_{seed.config.seed}", 7
        )
        assert alone.accuracy["test/task"][-1] == pytest.approx(
            end.accuracy["test/task"][-1], abs=0.015
        )
    frame = tracking.runs_frame(store, "own")
    assert sorted(frame["tags.seed"]) == [1, 2, 3]
    assert list(frame["status"]) == 3 * ["FINISHED"]


def test_a_trial_trains_its_seeds_in_groups(tmp_path: Path, store: Store) -> None:
    used = TrialPlan(space(), SweepFolder(tmp_path, "tiny"), RunContext("groups", store))
    told: list[dict[str, Any]] = []
    run_trial(used, 7, PARAMS, told.append)
    assert [row["tasks_learned"] for row in told] == [1, 2, 3]
    results = [
        json.loads((used.folder.seed_folder(7, seed) / "result.json").read_text())
        for seed in (1, 2, 3, 4)
    ]
    values = [result["metrics"]["val/task/average_accuracy"] for result in results]
    assert told[-1]["objective"] == pytest.approx(sum(values) / 4)
    assert [result["versions"].get("replicas") for result in results] == ["3", "3", "3", None]


def test_one_that_diverges_is_the_only_one_that_fails(tmp_path: Path, store: Store) -> None:
    good = seeds_in(tmp_path, 1, 3)
    bad = seeds_in(tmp_path, 2, params={**PARAMS, "train/lr": 1e29})[0]
    seeds = [good[0], bad, good[1]]
    assert group_seeds(seeds) == [seeds]  # learning rates may differ
    ends = train_replicas(seeds, RunContext("one-bad", store))
    assert [type(end) for end in ends] == [Result, TrialFailed, Result]
    assert [kinds(seed) for seed in seeds] == [ALL, ["start", "failed"], ALL]
    assert "smaller train/lr" in Journal(bad.folder).records()[-1]["reason"]
    status = tracking.runs_frame(store, "one-bad").set_index("tags.seed")["status"]
    assert dict(status) == {1: "FINISHED", 2: "FAILED", 3: "FINISHED"}


def test_a_trial_whose_seeds_diverge_is_a_reported_failure(tmp_path: Path, store: Store) -> None:
    used = TrialPlan(space(), SweepFolder(tmp_path, "tiny"), RunContext("all-bad", store))
    told: list[dict[str, Any]] = []
    run_trial(used, 7, {**PARAMS, "train/lr": 1e29}, told.append)
    assert len(told) == 1 and math.isnan(told[0]["objective"])
    assert told[0]["failure"].startswith("seed 1: the ")


def test_stopped_replicas_go_on_beside_a_finished_one(tmp_path: Path, store: Store) -> None:
    """Seed 2 was trained alone before; 1 and 3 are stopped in task 2."""
    context, seeds = RunContext("again", store), seeds_in(tmp_path, 1, 2, 3)
    before = train_seed(seeds[1].config, context, seeds[1].folder, 7)

    def stop(row: TaskReport) -> None:
        if row.tasks_learned == 2:
            raise OSError("the node is gone")

    with pytest.raises(OSError, match="node is gone"):
        train_replicas(seeds, context, on_task=stop)
    # All seeds had the row in their journals before the first one reported it.
    assert [kinds(seed)[:3] for seed in seeds] == 3 * [["start", "task", "task"]]
    rows: list[int] = []
    ends = train_replicas(seeds, context, on_task=lambda row: rows.append(row.tasks_learned))
    assert ends[1] == before
    assert rows == [2, 3]
    for seed in (seeds[0], seeds[2]):
        assert kinds(seed)[3:5] == ["failed", "resume"] and kinds(seed)[-1] == "end"


def test_a_seed_that_is_asked_for_twice_is_trained_once(tmp_path: Path, store: Store) -> None:
    seeds = seeds_in(tmp_path, 1, 1)
    ends = train_replicas(seeds, RunContext("twice", store))
    assert ends[0] == ends[1] and kinds(seeds[0]) == ALL


def test_a_sweep_may_go_on_with_another_number_at_a_time() -> None:
    other = parse(parse_yaml(TEXT.replace("num_replicas: 3", "num_replicas: 1")), "tiny")
    assert other.digests() == space().digests()
