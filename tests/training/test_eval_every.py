"""Evaluations within a task: series of scores, and not one bit of the training moves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import (
    EVERY_CELL,
    ITERATIONS,
    VARIANTS,
    assert_same,
    errors_of,
    fisher_of,
    go,
    trial,
    variant,
)

import hcl
from hcl.config import ConfigError, TrialConfig
from hcl.replicas import Replica, run_replicas
from hcl.results import Progress
from hcl.storage import checkpoint
from hcl.training.process import Runtime

EVERY = 4  # steps between checkpoints
WATCHED: dict[str, Any] = {"benchmark__val_fraction": 0.25}


class Stop(Exception):
    """Raised where a test stops the trial."""


def without(config: TrialConfig) -> TrialConfig:
    return replace(config, train=replace(config.train, eval_every=0))


class Points:
    """Collects the points of a training that have scores; may stop it after so many."""

    def __init__(self, stop_after: int = 0) -> None:
        self.found: list[Progress] = []
        self.stop_after = stop_after

    def __call__(self, progress: Progress) -> None:
        if progress.scores:
            self.found.append(progress)
            if len(self.found) == self.stop_after:
                raise Stop

    def places(self) -> list[tuple[int, int, int]]:
        return [(p.task_id, p.step, p.total_steps) for p in self.found]


def same_state(one: Path, other: Path) -> None:
    """Require that the newest checkpoints hold equal bits, of whatever configuration."""
    states = [checkpoint.load_latest(folder) for folder in (one, other)]
    for state in states:
        assert state is not None
        for key in ("digest", "seconds", "train_seconds", "learner"):
            del state[key]
    assert_same(*states)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_bit_moves_and_a_resumed_training_is_the_same(name: str, tmp_path: Path) -> None:
    config = variant(name, train__eval_every=2, **WATCHED)
    points, plain = Points(), go(without(config), tmp_path / "plain")
    watched = go(config, tmp_path / "watched", progress=points)
    assert (plain.accuracy, plain.inference) == (watched.accuracy, watched.inference)
    same_state(tmp_path / "plain", tmp_path / "watched")
    assert points.places() == [
        (task, step, task * ITERATIONS + step) for task in range(3) for step in (2, 4, 6)
    ]
    # Stopped in the middle of task 1 by a scored point, behind the checkpoint of step 4.
    torn = Points(stop_after=5)
    with pytest.raises(Stop):
        go(config, tmp_path / "torn", EVERY, progress=torn)
    torch.manual_seed(5)
    resumed = Points()
    result = go(config, tmp_path / "torn", EVERY, progress=resumed)
    assert (result.accuracy, result.inference) == (watched.accuracy, watched.inference)
    same_state(tmp_path / "torn", tmp_path / "watched")
    scores = {p.total_steps: p.scores for p in points.found}
    for point in (*torn.found, *resumed.found):
        assert point.scores == scores[point.total_steps]


@pytest.mark.parametrize(("method", "scenario"), [(m, s) for m, s, b in EVERY_CELL if "sp" in b])
def test_every_point_scores_the_tasks_so_far(method: str, scenario: str) -> None:
    config, points = trial(method, scenario, train__eval_every=3, **WATCHED), Points()
    result = go(config, progress=points)
    assert points.places() == [(t, s, t * ITERATIONS + s) for t in range(3) for s in (3, 6)]
    for point in points.found:
        row = [point.scores[f"val/{scenario}/acc/task_{i:02d}"] for i in range(point.task_id + 1)]
        assert all(0 <= accuracy <= 1 for accuracy in row) and point.losses
        assert not any(name.startswith("test/") for name in point.scores)
        mean = point.scores[f"val/{scenario}/average_accuracy"]
        assert mean == pytest.approx(sum(row) / len(row))
        if point.step == ITERATIONS:  # the end of a task, which the matrix shows
            assert row == result.accuracy[f"val/{scenario}"][point.task_id]


@pytest.mark.parametrize("method", ["hnet", "ewc"])
def test_a_regression_has_series_of_errors(method: str) -> None:
    config = trial(method, benchmark="toy_regression", train__eval_every=3, **WATCHED,
                   **fisher_of(method))  # fmt: skip
    points = Points()
    result = go(config, progress=points)
    last = points.found[-1].scores
    assert last["val/task/average_mse"] == result.metrics["val/task/average_mse"]
    assert {f"val/task/mse/task_{i:02d}" for i in range(3)} <= last.keys()


def test_without_it_nothing_is_evaluated_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> None:
        raise AssertionError("evaluated within a task")

    monkeypatch.setattr("hcl.training.learner.score_within_task", refuse)
    points = Points()
    go(trial(**WATCHED), progress=points)
    assert points.found == []
    go(trial(train__eval_every=2, **WATCHED))  # nobody listens


def test_its_time_is_not_the_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("hcl.training.learner.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(
        "hcl.training.learner.score_within_task", lambda trial: [next(clock) for _ in range(999)]
    )
    config = trial(train__eval_every=2, **WATCHED)
    assert go(config, progress=lambda _: None).metrics["steps_per_second"] > 0.1


def test_seeds_trained_together_have_their_own_points(tmp_path: Path) -> None:
    configs = [variant("hnet", seed=seed, train__eval_every=2, **WATCHED) for seed in (1, 2)]
    points = [Points() for _ in configs]
    replicas = [Replica(c, progress=p) for c, p in zip(configs, points, strict=True)]
    results = run_replicas(replicas, Runtime(threads=1))
    plain = run_replicas([Replica(without(c)) for c in configs], Runtime(threads=1))
    for config, mine, seen, without_it in zip(configs, results, points, plain, strict=True):
        assert isinstance(mine, hcl.Result) and isinstance(without_it, hcl.Result)
        assert mine.accuracy == without_it.accuracy
        alone = Points()
        go(config, progress=alone)
        assert seen.places() == alone.places()
        for one, other in zip(seen.found, alone.found, strict=True):  # within a sample or two
            assert one.scores == pytest.approx(other.scores, abs=0.1)
    assert points[0].found[0].scores != points[1].found[0].scores


def test_replicas_that_were_interrupted_go_on_alike(tmp_path: Path) -> None:
    configs = [variant("hnet", seed=seed, train__eval_every=2, **WATCHED) for seed in (1, 2)]

    def train(folder: Path, progress: Any = None) -> list[Any]:
        replicas = [
            Replica(c, progress=progress, checkpoint_dir=folder / str(c.seed)) for c in configs
        ]
        return run_replicas(replicas, Runtime(threads=1, checkpoint_every=EVERY))

    straight = train(tmp_path / "steady", Points())
    with pytest.raises(Stop):
        train(tmp_path / "torn", Points(stop_after=11))
    resumed = train(tmp_path / "torn", Points())
    for one, other in zip(straight, resumed, strict=True):
        assert one.accuracy == other.accuracy
    for config in configs:
        same_state(tmp_path / "steady" / str(config.seed), tmp_path / "torn" / str(config.seed))


def test_a_learner_goes_on_without_evaluations() -> None:
    """It has no data of past tasks."""
    config = trial("finetune", "domain", train__eval_every=2, **WATCHED)
    learner = hcl.run(config, first_tasks=2).learner
    points = Points()
    longer = hcl.continue_training(learner, progress=points)
    assert points.found == [] and longer.config == config


def test_without_validation_data_it_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (error,) = errors_of({"train/eval_every": 5})
    assert error == (
        "train/eval_every: scores validation data, never test data;"
        " set benchmark/val_fraction above 0, e.g. to 0.1"
    )
    (error,) = errors_of({"train/eval_every": -1, "benchmark/val_fraction": 0.1})
    assert error == "train/eval_every: must be >= 0 but got -1"
    x, y = np.zeros((80, 4), np.float32), np.arange(80) % 4
    arrays = {f"{name}_{split}": values for split in ("train", "test")
              for name, values in (("x", x), ("y", y), ("t", y // 2))}  # fmt: skip
    np.savez(tmp_path / "own.npz", **arrays)
    values = {"benchmark/sequence": "given", "benchmark/data": str(tmp_path / "own.npz"),
              "benchmark/num_tasks": 2, "train/eval_every": 5}  # fmt: skip
    with pytest.raises(ConfigError, match=r"set benchmark/val_fraction above 0") as caught:
        hcl.run(values)
    assert len(caught.value.errors) == 1


def test_configurations_of_before_have_their_digests() -> None:
    assert trial(train__eval_every=0).digest() == trial().digest()
    assert trial(train__eval_every=2, **WATCHED).digest() != trial(**WATCHED).digest()
