"""Scores within tasks on their way: journal, MLflow with steps, page."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from made import train_seed
from stored import points
from tiny import ITERATIONS, trial

from sweeps.records.entries import read_recorded
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.reports.page import page_data
from sweeps.reports.within_tasks import NUMBERS, read_series
from sweeps.tracking import Store, deliver, prepare
from sweeps.workers.context import RunContext
from sweeps.workers.seed_batch import train_replicas
from sweeps.workers.seed_records import Seed

pytestmark = pytest.mark.timeout(120)
NAME = "within"
WATCHED = {"train__eval_every": 3, "benchmark__val_fraction": 0.25}
STEPS = [3, 6, 9, 12, 15, 18]  # two in each of three tasks
ACCURACY = "val/task/acc/task_00"


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path, NAME)


@pytest.fixture
def context(store: Store) -> RunContext:
    prepare(store)
    return RunContext(NAME, store, threads=1)


def scores(folder: Path) -> list[dict[str, Any]]:
    return [record for record in Journal(folder).records() if record["kind"] == "scores"]


def test_they_are_series_with_the_steps_of_the_training(
    folder: SweepFolder, context: RunContext
) -> None:
    assert ITERATIONS == 6
    config, place = trial(**WATCHED), folder.seed_folder(0, 1)
    result = train_seed(config, context, place, 0)
    assert [record["total_steps"] for record in scores(place)] == STEPS
    stored = points(context.store, f"{NAME}/0000/seed_1")
    series = stored[f"within_task/{ACCURACY}"]
    assert [step for step, _, _ in series] == STEPS
    ends = [value for step, _, value in series if step % ITERATIONS == 0]
    assert ends == [row[0] for row in result.accuracy["val/task"]]
    assert [step for step, _, _ in stored["within_task/val/task/acc/task_02"]] == [15, 18]
    assert {"within_task/loss/task", "within_task/val/task/average_accuracy"} <= stored.keys()
    # The series over tasks is what it is without them.
    assert [step for step, _, _ in stored[ACCURACY]] == [1, 2, 3]
    before = stored
    assert deliver(context.store, place, None)
    assert points(context.store, f"{NAME}/0000/seed_1") == before


def test_each_seed_trained_together_has_its_own(folder: SweepFolder, context: RunContext) -> None:
    configs = [trial(seed=seed, train__num_replicas=2, **WATCHED) for seed in (1, 2)]
    seeds = [Seed(config, folder.seed_folder(0, config.seed), 0) for config in configs]
    train_replicas(seeds, context)
    found = [scores(seed.folder) for seed in seeds]
    assert [[record["total_steps"] for record in one] for one in found] == [STEPS, STEPS]
    assert found[0][0]["metrics"] != found[1][0]["metrics"]


def test_the_page_has_a_line_for_each_task(folder: SweepFolder, context: RunContext) -> None:
    for seed, more in ((1, WATCHED), (2, {})):
        train_seed(trial(seed=seed, **more), context, folder.seed_folder(0, seed), 0)
    data = page_data(read_recorded([folder]), {})
    series, without = json.loads(zlib.decompress(base64.b64decode(data["within"])))
    assert without is None and series["steps"] == STEPS
    assert [[value is None for value in line] for line in series["lines"]] == [
        [False] * 6, [True] * 2 + [False] * 4, [True] * 4 + [False] * 2
    ]  # fmt: skip
    first = scores(folder.seed_folder(0, 1))[0]["metrics"][ACCURACY]
    assert series["lines"][0][0] == round(first * data["scale"])


def test_a_long_training_is_thinned_and_a_long_sequence_has_a_mean() -> None:
    def journal(num_tasks: int, num_points: int) -> list[dict[str, Any]]:
        start = {"kind": "start", "params": {"benchmark/num_tasks": num_tasks, "scenario": "task"}}
        metrics = {"val/task/average_accuracy": 0.5, ACCURACY: 0.25}
        return [start, *({"kind": "scores", "total_steps": 10 * i, "metrics": metrics}
                         for i in range(num_points))]  # fmt: skip

    few = read_series(journal(4, 50), 100)
    assert few is not None and few["steps"] == list(range(0, 500, 10))
    assert few["lines"][0] == [25] * 50 and few["lines"][3] == [None] * 50
    many = read_series(journal(4, 5000), 100)
    assert many is not None and len(many["steps"]) * 4 <= NUMBERS + 4
    assert (many["steps"][0], many["steps"][-1]) == (0, 49_990)
    long = read_series(journal(100, 50), 100)
    assert long is not None and long["lines"] == [[50] * 50]
    assert read_series(journal(4, 0), 100) is None
