"""Crops and flips: each does what it should, from its own draws, and only in training."""

from pathlib import Path

import pytest
import torch
from tiny import assert_same, errors_of, go, trial
from torch import Tensor

from hcl import seeding
from hcl.benchmarks.arrays import TaskData, TaskSplits
from hcl.benchmarks.augment import PADDING, crop_and_flip
from hcl.results import Progress
from hcl.storage import checkpoint
from hcl.training.batches import make_batches
from hcl.training.process import Runtime
from hcl.training.trial_state import start_trial


def one_by_one(x: Tensor, draws: torch.Generator) -> Tensor:
    """Crop and flip from the same draws, image by image and pixel by pixel."""
    count, _, height, width = x.shape
    shifts = torch.randint(2 * PADDING + 1, (2, count, 1), generator=draws)[..., 0].tolist()
    flips = torch.randint(2, (count, 1), generator=draws)[:, 0].tolist()
    result = torch.zeros_like(x)
    for n in range(count):
        for row in range(height):
            for column in range(width):
                source_row = row + shifts[0][n] - PADDING
                source = (width - 1 - column if flips[n] else column) + shifts[1][n] - PADDING
                if 0 <= source_row < height and 0 <= source < width:
                    result[n, :, row, column] = x[n, :, source_row, source]
    return result


@pytest.mark.parametrize("shape", [(6, 3, 9, 9), (2, 1, 5, 12), (1, 3, 12, 4)])
def test_against_a_loop(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    for seed in range(4):
        mine, theirs = (seeding.generator(seed, "augment") for _ in range(2))
        assert torch.equal(crop_and_flip(x, mine), one_by_one(x, theirs))


def test_every_shift_and_both_directions_come_up() -> None:
    x = torch.zeros(3000, 1, 20, 20)
    x[:, :, 10, 10] = 1.0
    result = crop_and_flip(x, seeding.generator(1, "augment"))
    assert (result.sum((1, 2, 3)) == 1).all()
    places = result.flatten(1).argmax(1)
    rows, columns = places // 20, places % 20
    assert set(rows.tolist()) == set(range(6, 15))
    assert set(columns.tolist()) == set(range(5, 15))  # unflipped 6..14, flipped 5..13
    counts = torch.bincount(rows)[6:].float()
    assert counts.min() > 0.7 * 3000 / 9


def test_batches_depend_on_seed_task_and_step_alone(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCL_DATA", str(tiny_root))
    for method in ("finetune", "joint"):
        plain, augmented, other = (
            start_trial(trial(method, benchmark="split_cifar10", **more), Runtime(), None)
            for more in ({}, {"train__augment": True}, {"train__augment": True, "seed": 2})
        )
        tasks = plain.benchmark.tasks
        xs = [make_batches(augmented, tasks[t]).at(s)[0] for t, s in ((0, 3), (0, 4), (1, 3))]
        assert not torch.equal(xs[0], xs[1]) and not torch.equal(xs[0], xs[2])
        again = make_batches(augmented, tasks[0])
        again.at(7)
        assert torch.equal(again.at(3)[0], xs[0])
        x, y = make_batches(plain, tasks[0]).at(3)
        assert torch.equal(again.at(3)[1], y)
        draws = seeding.generator(1, "augment", 0, 3)
        assert torch.equal(one_by_one(x, draws), xs[0])
        assert not torch.equal(make_batches(other, tasks[0]).at(3)[0], xs[0])


@pytest.mark.parametrize("method", ["hnet", "er", "joint", "lwf"])
def test_resumed_equals_never_stopped(
    method: str, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCL_DATA", str(tiny_root))
    config = trial(method, benchmark="split_cifar10", train__augment=True)

    def stop(progress: Progress) -> None:
        if progress.task_id == 1:
            raise KeyboardInterrupt

    steady, torn = tmp_path / "steady", tmp_path / "torn"
    straight = go(config, steady)
    with pytest.raises(KeyboardInterrupt):
        go(config, torn, 4, progress=stop)
    assert go(config, torn, 4).accuracy == straight.accuracy
    states = [checkpoint.load_latest(folder) for folder in (steady, torn)]
    for state in states:
        assert state is not None
        del state["seconds"], state["train_seconds"]
    assert_same(*states)


def test_only_training_is_augmented(
    tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluation, Fisher matrices and buffers use the data as they are."""
    monkeypatch.setenv("HCL_DATA", str(tiny_root))
    seen: list[int] = []
    monkeypatch.setattr(
        "hcl.training.batches.crop_and_flip",
        lambda x, draws: seen.append(len(x)) or torch.zeros_like(x),
    )
    config = trial("online_ewc", benchmark="split_cifar10", train__augment=True)
    go(config)
    assert len(seen) == 3 * config.train.iterations
    made = start_trial(
        trial("er", benchmark="split_cifar10", train__augment=True), Runtime(), None
    )
    task: TaskSplits = made.benchmark.tasks[0]
    made.method.start_task(task)
    made.method.end_task(task)
    data: TaskData = task.train
    kept = made.method.get_extra_state()["kept_x"]
    known = {image.numpy().tobytes() for image in data.x}
    assert {image.numpy().tobytes() for image in kept} <= known


def test_benchmarks_without_images_refuse_it() -> None:
    (error,) = errors_of({"benchmark/name": "split_digits", "train/augment": True})
    assert error.startswith("train/augment: split_digits has no images to crop and flip;")
