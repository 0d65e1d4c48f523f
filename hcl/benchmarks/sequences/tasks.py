"""Parts that all sequences share: inputs as networks take them, one task, all tasks."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from hcl.benchmarks.arrays import (
    Benchmark,
    TaskData,
    TaskSplits,
    choose_statistics,
    settings_text,
)
from hcl.benchmarks.files import RawArrays
from hcl.benchmarks.sources import Part
from hcl.config import BenchmarkConfig
from hcl.storage.files import DataError

Index = Callable[[str], np.ndarray]  # split -> places of a task's samples in its arrays, int64


def generator(seed: int, *purpose: str | int) -> np.random.RandomState:
    """Make the random numbers of one purpose."""
    # RandomState, not Generator: NumPy promises never to change its streams.
    key = hashlib.sha256(json.dumps([seed, *purpose]).encode()).digest()
    return np.random.RandomState(np.frombuffer(key, dtype="<u4"))


def arrange(arrays: RawArrays, padding: int) -> RawArrays:
    """Make grey images vectors, (N, H·W); put the channels of others first, (N, C, H, W).

    Features (N, D), labels and numbers stay as they are.
    """
    return {k: _inputs(v, padding) if k.startswith("x_") else v for k, v in arrays.items()}


def _inputs(x: np.ndarray, padding: int) -> np.ndarray:
    border = ((padding, padding), (padding, padding))
    if x.ndim == 2:
        return x
    if x.ndim == 3:
        return np.pad(x, ((0, 0), *border)).reshape(len(x), -1)
    padded = np.pad(x, ((0, 0), *border, (0, 0))) if padding else x
    return padded.transpose(0, 3, 1, 2)


def all_classes(config: BenchmarkConfig, part: Part) -> np.ndarray | None:
    """List all classes of a data set; None where targets are numbers."""
    return None if config.info.is_regression else np.arange(part.num_classes)


def everything(arrays: RawArrays) -> Index:
    """Choose all samples of every split."""
    return lambda split: np.arange(len(arrays[f"y_{split}"]))


def make_task(
    task_id: int,
    arrays: RawArrays,
    config: BenchmarkConfig,
    index: Index,
    classes: np.ndarray | None,
) -> tuple[TaskSplits, np.ndarray]:
    """Make a task of some samples.

    Args:
        task_id: the task's place.
        arrays: arranged ones. Their validation part is the task's, where they have one.
        config: says how much of the training data is kept for validation, where they have none.
        index: chooses the task's samples.
        classes: the task's classes, as `arrays` number them: a label within the task is the place
            here. None where targets are numbers.

    Returns:
        The task; places of the training samples that are kept for validation.

    Raises:
        DataError: a part would be empty.
    """
    members, test = index("train"), index("test")
    _refuse_empty(task_id, classes, len(members), len(test))
    train, kept = _train_and_val(members, len(arrays["y_train"]), config)
    val = ("val", index("val")) if "y_val" in arrays else ("train", kept)
    if "y_val" in arrays and config.val_fraction:
        raise DataError(
            "benchmark/val_fraction: the data have a validation part of their own, x_val, but got"
            f" {config.val_fraction}; leave it out"
        )
    splits = [_select(arrays, *part, classes) for part in (("train", train), val, ("test", test))]
    labels = () if classes is None else tuple(classes.tolist())
    return TaskSplits(task_id, splits[0], splits[1], splits[2], labels), kept


def _select(
    arrays: RawArrays, split: str, index: np.ndarray, classes: np.ndarray | None
) -> TaskData:
    x, y = arrays[f"x_{split}"][index], arrays[f"y_{split}"][index]
    if classes is not None:
        label = np.zeros(classes.max() + 1, dtype=y.dtype)
        label[classes] = range(len(classes))
        y = label[y]
    # Indexing copies, so no tensor aliases the cached arrays.
    return TaskData(torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y))


def _train_and_val(
    members: np.ndarray, num_images: int, config: BenchmarkConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Split a task's training images at random, both parts in their original order."""
    if config.val_fraction == 0:
        return members, members[:0]
    num_val = round(config.val_fraction * len(members))
    if not 0 < num_val < len(members):
        raise DataError(
            f"benchmark/val_fraction: {config.val_fraction} of the {len(members)} training images"
            f" of a task is {num_val}, which leaves one part empty; use 0 or a fraction nearer"
            " to 0.1"
        )
    # One shuffle of the whole data set, or an image's side would depend on num_tasks.
    rank = generator(config.seed, "val").permutation(num_images)
    shuffled = members[np.argsort(rank[members])]
    return np.sort(shuffled[num_val:]), np.sort(shuffled[:num_val])


def _refuse_empty(task_id: int, classes: np.ndarray | None, num_train: int, num_test: int) -> None:
    for split, count in (("training", num_train), ("test", num_test)):
        if count == 0:
            listed = [] if classes is None else classes.tolist()
            raise DataError(
                f"benchmark: the data have no {split} image for task {task_id}"
                f" (classes {', '.join(map(str, listed))}); use fewer tasks or complete data"
            )


def make_benchmark(
    config: BenchmarkConfig,
    tasks: Sequence[TaskSplits],
    raw_digest: str,
    drawn: Iterable[np.ndarray],
    sizes: int | Sequence[int],
) -> Benchmark:
    """Make a benchmark of its tasks.

    Args:
        config: its settings.
        tasks: all tasks, in order.
        raw_digest: of the data sets.
        drawn: what was drawn at random to make the tasks.
        sizes: number of classes, or of outputs, of every task, or of each.
    """
    # What was drawn is hashed too: a different generator would be different data. But seeds of one
    # configuration share their digest, even where each has tasks of its own.
    total = hashlib.sha256(raw_digest.encode())
    total.update(settings_text(config).encode())
    for indices in drawn if config.order_seed != "trial" else ():
        total.update(indices.astype("<i8").tobytes())
    if not isinstance(sizes, int):
        sizes = sizes[0] if len(set(sizes)) == 1 else tuple(sizes)
    return Benchmark(
        name=config.name,
        tasks=tuple(tasks),
        input_shape=tuple(tasks[0].train.x.shape[1:]),
        classes_per_task=sizes,
        digest=total.hexdigest()[:16],
        pixel_statistics=choose_statistics(config, tasks),
    )
