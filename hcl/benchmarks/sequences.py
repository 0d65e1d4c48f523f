"""Sequences of tasks: data sets are split into their classes, or their pixels permuted.

Everything random is drawn from (benchmark/seed, purpose), so that all trials of a sweep see the
same tasks; but class orders and permutations from (benchmark/order_seed, purpose) where it is set.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from hcl.benchmarks.arrays import (
    Benchmark,
    TaskData,
    TaskSplits,
    choose_statistics,
    settings_text,
)
from hcl.benchmarks.sources import Part
from hcl.config import BenchmarkConfig
from hcl.storage.files import DataError


def split(config: BenchmarkConfig, parts: list[Part], order_seed: int) -> Benchmark:
    """Give each task the next `classes_per_task` classes of a data set, then of the next one.

    A task's labels are 0, 1, ... in the order of its classes.
    """
    tasks: list[TaskSplits] = []
    drawn: list[np.ndarray] = []
    digests = ""
    for arrays, digest, num_classes in parts:
        digests += digest
        x = {s: _inputs(arrays[f"x_{s}"], config.padding) for s in ("train", "test")}
        y_train, y_test = arrays["y_train"], arrays["y_test"]
        order = class_order(config, num_classes, order_seed)
        if config.class_order == "shuffled":
            drawn.append(order)
        for classes in _shares(order, config):
            label = np.zeros(max(num_classes, y_train.max() + 1), dtype=y_train.dtype)
            label[classes] = range(len(classes))
            test = np.flatnonzero(np.isin(y_test, classes))
            members = np.flatnonzero(np.isin(y_train, classes))
            _refuse_empty(len(tasks), classes, len(members), len(test))
            train, val = _train_and_val(members, len(y_train), config)
            drawn.append(val)
            splits = (
                _select(x["train"], label[y_train], train),
                _select(x["train"], label[y_train], val),
                _select(x["test"], label[y_test], test),
            )
            tasks.append(TaskSplits(len(tasks), *splits, labels=tuple(classes.tolist())))
    return _benchmark(config, tasks, digests, drawn)


def _shares(order: np.ndarray, config: BenchmarkConfig) -> list[np.ndarray]:
    """Share the classes out: the next ones for each task."""
    size = config.classes_per_task
    ends = range(size, len(order), size) if isinstance(size, int) else np.cumsum(size)[:-1]
    return np.split(order, list(ends))


def class_order(config: BenchmarkConfig, num_classes: int, order_seed: int) -> np.ndarray:
    """List the classes of all tasks, in order: int64 (num_tasks * classes_per_task,).

    Args:
        config: of a benchmark that splits a data set.
        num_classes: how many classes the data set has, or a fixed order uses.
        order_seed: what a shuffled order is drawn from.
    """
    if config.class_order == "fixed":
        return np.arange(num_classes)
    if isinstance(config.class_order, tuple):
        return np.array(config.class_order)
    shuffled = _generator(order_seed, "class_order").permutation(num_classes)
    return shuffled[: sum(config.sizes)]


def permuted(config: BenchmarkConfig, parts: list[Part], order_seed: int) -> Benchmark:
    """Give each task all pixels in its own random order, task 0 the images as they are.

    With `first_task_permuted` task 0 has a random order too.
    """
    ((arrays, raw_digest, num_classes),) = parts
    x_train = _inputs(arrays["x_train"], config.padding)
    x_test = _inputs(arrays["x_test"], config.padding)
    if x_train.ndim != 2:
        raise DataError("benchmark/sequence: permuted takes grey images or features, not channels")
    everything = np.arange(len(x_train))
    train_index, val_index = _train_and_val(everything, len(x_train), config)
    train = _select(x_train, arrays["y_train"], train_index)
    val = _select(x_train, arrays["y_train"], val_index)
    test = _select(x_test, arrays["y_test"], np.arange(len(x_test)))
    tasks, drawn, labels = [], [val_index], tuple(range(num_classes))
    if not config.first_task_permuted:
        tasks.append(TaskSplits(0, train, val, test, labels))
    for task_id in range(len(tasks), config.num_tasks):
        order = _generator(order_seed, "permutation", task_id).permutation(x_train.shape[1])
        permutation = torch.from_numpy(order.astype(np.int64))
        views = [TaskData(d.x, d.y, permutation) for d in (train, val, test)]
        tasks.append(TaskSplits(task_id, views[0], views[1], views[2], labels))
        drawn.append(order)
    made = _benchmark(config, tasks, raw_digest, drawn)
    return replace(made, classes_per_task=num_classes)


def _benchmark(
    config: BenchmarkConfig,
    tasks: list[TaskSplits],
    raw_digest: str,
    drawn: Iterable[np.ndarray],
) -> Benchmark:
    # What was drawn is hashed too: a different generator would be different data. But seeds of one
    # configuration share their digest, even where each has tasks of its own.
    total = hashlib.sha256(raw_digest.encode())
    total.update(settings_text(config).encode())
    for indices in drawn if config.order_seed != "trial" else ():
        total.update(indices.astype("<i8").tobytes())
    return Benchmark(
        name=config.name,
        tasks=tuple(tasks),
        input_shape=tuple(tasks[0].train.x.shape[1:]),
        classes_per_task=config.classes_per_task,
        digest=total.hexdigest()[:16],
        pixel_statistics=choose_statistics(config, tasks),
    )


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
    rank = _generator(config.seed, "val").permutation(num_images)
    shuffled = members[np.argsort(rank[members])]
    return np.sort(shuffled[num_val:]), np.sort(shuffled[:num_val])


def _generator(seed: int, *purpose: str | int) -> np.random.RandomState:
    # RandomState, not Generator: NumPy promises never to change its streams.
    key = hashlib.sha256(json.dumps([seed, *purpose]).encode()).digest()
    return np.random.RandomState(np.frombuffer(key, dtype="<u4"))


def _inputs(x: np.ndarray, padding: int) -> np.ndarray:
    """Make grey images vectors, (N, H·W); put the channels of others first, (N, C, H, W).

    Features (N, D) stay as they are.
    """
    border = ((padding, padding), (padding, padding))
    if x.ndim == 2:
        return x
    if x.ndim == 3:
        return np.pad(x, ((0, 0), *border)).reshape(len(x), -1)
    padded = np.pad(x, ((0, 0), *border, (0, 0))) if padding else x
    return padded.transpose(0, 3, 1, 2)


def _select(x: np.ndarray, y: np.ndarray, index: np.ndarray) -> TaskData:
    # Indexing copies, so no tensor aliases the cached arrays.
    return TaskData(torch.from_numpy(np.ascontiguousarray(x[index])), torch.from_numpy(y[index]))


def _refuse_empty(task_id: int, classes: np.ndarray, num_train: int, num_test: int) -> None:
    for split_name, count in (("training", num_train), ("test", num_test)):
        if count == 0:
            raise DataError(
                f"benchmark: the data have no {split_name} image for task {task_id}"
                f" (classes {', '.join(map(str, classes))}); use fewer tasks or complete data"
            )
