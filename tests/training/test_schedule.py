"""Epochs, learning-rate steps and plateaus: their effect, also over a restart."""

import dataclasses
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, errors_of, go, trial

from hcl import benchmarks
from hcl.config import TrialConfig
from hcl.config.methods import METHOD_CONFIGS
from hcl.config.train import TrainConfig
from hcl.kernels.fast_adam import FastAdam
from hcl.methods import METHODS
from hcl.results import Progress
from hcl.storage import checkpoint
from hcl.training.process import Runtime
from hcl.training.schedule import Plateau, epoch_length, learning_rate, num_steps
from hcl.training.trial_state import start_trial
from sweeps.reproduction.table_file import _scaled

PAPER = {"train__lr_steps": [0.4, 0.6, 0.8, 0.9], "train__lr_factors": [0.1, 0.01, 1e-3, 5e-4]}
WATCH = {"train__plateau_patience": 1, "benchmark__val_fraction": 0.25}


def rates_of(made: torch.nn.Module) -> list[float]:
    """List the learning rates of all optimizers in a method, however deep."""
    found, waiting, seen = [], [made], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        for value in [*vars(part).values(), *getattr(part, "_modules", {}).values()]:
            if isinstance(value, torch.optim.Optimizer):
                found += [group["lr"] for group in value.param_groups]
            elif isinstance(value, FastAdam):
                found.append(value.lr)
            elif isinstance(value, torch.nn.Module):
                waiting.append(value)
    return found


def recorded(monkeypatch: pytest.MonkeyPatch, method: str) -> list[set[float]]:
    """Make a list that fills with the learning rates of each training step."""
    steps: list[set[float]] = []
    kind = METHODS[method]
    plain = kind.train_step

    def train_step(self: Any, x: Any, y: Any) -> Any:
        steps.append(set(rates_of(self)))
        return plain(self, x, y)

    monkeypatch.setattr(kind, "train_step", train_step)
    return steps


def test_steps_of_a_task() -> None:
    train = TrainConfig(iterations=7, batch_size=32)
    assert num_steps(train, 1000) == 7
    train = TrainConfig(iterations=7, epochs=3, batch_size=32)
    assert (epoch_length(train, 1000), num_steps(train, 1000)) == (31, 93)
    assert num_steps(train, 20) == 3  # a task smaller than a batch
    assert num_steps(TrainConfig(epochs=0.5, batch_size=32), 1000) == 16
    assert num_steps(TrainConfig(epochs=0.001, batch_size=32), 1000) == 1


def test_factors_start_at_their_part_of_the_training() -> None:
    train = TrainConfig(lr=2.0, lr_steps=(0.4, 0.6), lr_factors=(0.1, 0.5))
    rates = [learning_rate(train, step / 10, Plateau()) for step in range(10)]
    assert rates == [2.0] * 4 + [0.2] * 2 + [1.0] * 4
    train = TrainConfig(lr=2.0)
    assert learning_rate(train, 0.9, Plateau()) == 2.0


def test_plateaus_against_torchs_own_scheduler() -> None:
    train = TrainConfig(lr=1.0, plateau_patience=2, plateau_factor=0.5, plateau_min_lr=0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=2, threshold=0.0, min_lr=0.1
    )
    mine = Plateau()
    draws = torch.Generator().manual_seed(0)
    seen = set()
    for score in torch.rand(60, generator=draws, dtype=torch.float64).tolist():
        mine.observe(score, train)
        theirs.step(score)
        assert learning_rate(train, 0.0, mine) == optimizer.param_groups[0]["lr"]
        seen.add(learning_rate(train, 0.0, mine))
    assert seen == {1.0, 0.5, 0.25, 0.125, 0.1}


def test_a_floor_above_the_stepped_rate_changes_nothing() -> None:
    train = TrainConfig(lr=1e-6, lr_steps=(0.5,), lr_factors=(0.1,), plateau_patience=1)
    assert learning_rate(train, 0.0, Plateau(factor=0.01)) == 5e-7
    assert learning_rate(train, 0.6, Plateau(factor=0.01)) == 1e-7


@pytest.mark.parametrize("method", METHOD_CONFIGS)
def test_every_optimizer_follows_in_every_task(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = recorded(monkeypatch, method)
    config = trial(method, train__iterations=4, train__lr_steps=[0.5], train__lr_factors=[0.1])
    go(config)
    expected = [{0.01}, {0.01}, {0.01 * 0.1}, {0.01 * 0.1}]
    assert steps == 3 * expected


@pytest.mark.parametrize("method", ["hnet", "finetune"])
def test_no_schedule_touches_nothing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS[method], "set_learning_rate", None)
    go(trial(method))


def test_tasks_of_different_size(tiny_root: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Progress, numbers of checkpoints and learning rates count the steps of each task."""
    monkeypatch.setenv("HCL_DATA", str(tiny_root))
    sizes = [40, 8, 40]
    progress: list[Progress] = []
    config = trial(benchmark="cifar_6", train__epochs=2, train__batch_size=8)
    plain = benchmarks.load

    def smaller(*args: Any) -> Any:
        made = plain(*args)
        tasks = []
        for task, size in zip(made.tasks, sizes, strict=True):
            data = dataclasses.replace(task.train, x=task.train.x[:size], y=task.train.y[:size])
            tasks.append(dataclasses.replace(task, train=data))
        return dataclasses.replace(made, tasks=tuple(tasks))

    monkeypatch.setattr(benchmarks, "load", smaller)
    result = go(config, tmp_path, 3, progress=progress.append)
    assert [(p.step, p.iterations) for p in progress] == [(10, 10), (2, 2), (10, 10)]
    assert result.metrics["steps_per_second"] > 0
    numbers = [int(path.stem) for path in sorted(tmp_path.glob("*.pt"))]
    assert numbers == [21, 22]  # 12 steps before, then the ninth and the last


class Scores:
    """Replace `sum_scores` by scores that rise and then stay."""

    def __init__(self, rising: int) -> None:
        self.asked, self.rising = 0, rising

    def __call__(self, method: Any, data: Any, *_: Any) -> torch.Tensor:
        assert not method.training and len(data)
        self.asked += 1
        return torch.tensor([float(min(self.asked, self.rising)), -1.0])


def test_validation_is_watched_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = recorded(monkeypatch, "hnet")
    scores = Scores(rising=3)
    monkeypatch.setattr("hcl.training.learner.sum_scores", scores)
    config = trial("hnet", benchmark__num_tasks=1, train__epochs=8, train__batch_size=100,
                   train__plateau_factor=0.5, **WATCH)  # fmt: skip
    made = start_trial(config, Runtime(), None)
    per_epoch = made.num_steps(0) // 8
    assert per_epoch > 1
    go(config)
    assert scores.asked == 8
    by_epoch = [steps[i * per_epoch : (i + 1) * per_epoch] for i in range(8)]
    assert all(len(set(map(frozenset, epoch))) == 1 for epoch in by_epoch)
    rates = [min(epoch[0]) for epoch in by_epoch]
    # Best in the third epoch; the fourth is forgiven, each second one after that is not.
    assert rates == [0.01] * 5 + [0.005] * 2 + [0.0025]


RESUMED = ["hnet", "hnet_tir", "finetune", "dgr", "si", "from_scratch", "joint"]


@pytest.mark.parametrize("method", RESUMED)
def test_resumed_equals_never_stopped(method: str, tmp_path: Path) -> None:
    """The stop is in the middle of a task, after plateaus and steps."""
    config = trial(method, train__epochs=6, train__batch_size=60, train__lr=0.1,
                   train__lr_steps=[0.5], train__lr_factors=[0.3], **WATCH)  # fmt: skip

    def stop(progress: Progress) -> None:
        if progress.task_id == 1:
            raise KeyboardInterrupt

    steady, torn = tmp_path / "steady", tmp_path / "torn"
    straight = go(config, steady)
    with pytest.raises(KeyboardInterrupt):
        go(config, torn, 5, progress=stop)
    state = checkpoint.load_latest(torn)
    assert state is not None and state["step"] > 0 and math.isfinite(state["plateau"]["best"])
    assert go(config, torn, 5).accuracy == straight.accuracy
    states = [checkpoint.load_latest(folder) for folder in (steady, torn)]
    for state in states:
        assert state is not None
        del state["seconds"], state["train_seconds"]
    assert_same(*states)


def test_errors_are_better_when_they_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A regression's score is its squared error."""
    seen: list[float] = []
    monkeypatch.setattr(Plateau, "observe", lambda self, score, train: seen.append(score))
    go(trial("finetune", benchmark="toy_regression", train__epochs=2, train__batch_size=25,
             train__lr=0.001, **WATCH))  # fmt: skip
    assert len(seen) == 6 and all(score < 0 for score in seen)
    assert all(later > earlier for earlier, later in pairwise(seen[:2]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"train/lr_steps": [0.5]}, "train/lr_factors: must have one factor for each of the 1"),
        ({"train/lr_factors": [0.5]}, "for each of the 0 train/lr_steps but has 1"),
        ({"train/lr_steps": [1.0], "train/lr_factors": [0.1]}, "train/lr_steps: must be < 1"),
        (
            {"train/lr_steps": [0.5, 0.5], "train/lr_factors": [0.1, 0.1]},
            "train/lr_steps: must ri",
        ),
        ({"train/plateau_patience": 5}, "set benchmark/val_fraction above 0, e.g. to 0.1"),
        ({"train/plateau_factor": 1}, "train/plateau_factor: must be < 1 but got 1.0"),
        ({"train/epochs": -1}, "train/epochs: must be >= 0 but got -1"),
        (
            {"train/lr_steps": [0.5], "train/lr_factors": [0.1], "train/num_replicas": 2},
            "train/num_replicas: seeds whose learning rate changes",
        ),
    ],
)
def test_one_mistake_one_sentence(values: dict[str, Any], words: str) -> None:
    (error,) = errors_of(values)
    assert words in error and "\n" not in error


def test_the_papers_schedule_is_read() -> None:
    config = trial(**PAPER)
    assert TrialConfig.from_dict(config.to_dict()) == config
    assert config.digest() != trial().digest()


def test_a_budget_is_of_epochs_where_they_count() -> None:
    scaled = _scaled(trial(train__epochs=80), 0.1)
    assert (scaled.train.epochs, scaled.train.iterations) == (8, trial().train.iterations)
    assert _scaled(trial(train__epochs=2), 0.1).train.epochs == 0.2
