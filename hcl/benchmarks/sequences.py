"""Sequences of tasks: data sets are split into their classes, or their pixels permuted.

Everything random is drawn from (benchmark/seed, purpose), never from the trial's seed: all trials
of a sweep see the same tasks.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict

import numpy as np
import torch

from hcl.benchmarks.arrays import Benchmark, TaskData, TaskSplits
from hcl.benchmarks.sources import Part
from hcl.config import BenchmarkConfig
from hcl.storage.files import DataError


def split(config: BenchmarkConfig, parts: list[Part]) -> Benchmark:
    """Give each task the next `classes_per_task` classes of a data set, then of the next one."""
    tasks: list[TaskSplits] = []
    drawn: list[np.ndarray] = []
    digests = ""
    for arrays, digest, num_classes in parts:
        digests += digest
        x = {s: _inputs(arrays[f"x_{s}"], config.padding) for s in ("train", "test")}
        y_train, y_test = arrays["y_train"], arrays["y_test"]
        for first in range(0, num_classes, config.classes_per_task):
            classes = range(first, first + config.classes_per_task)
            test = np.flatnonzero(np.isin(y_test, classes))
            members = np.flatnonzero(np.isin(y_train, classes))
            _refuse_empty(len(tasks), classes, len(members), len(test))
            train, val = _train_and_val(members, len(y_train), config)
            drawn.append(val)
            splits = (
                _select(x["train"], y_train - first, train),
                _select(x["train"], y_train - first, val),
                _select(x["test"], y_test - first, test),
            )
            tasks.append(TaskSplits(len(tasks), *splits))
    return _benchmark(config, tasks, digests, drawn)


def permuted(config: BenchmarkConfig, parts: list[Part]) -> Benchmark:
    """Give task 0 the images as they are, every other task all pixels in its own random order."""
    ((arrays, raw_digest, _),) = parts
    x_train = _inputs(arrays["x_train"], config.padding)
    x_test = _inputs(arrays["x_test"], config.padding)
    everything = np.arange(len(x_train))
    train_index, val_index = _train_and_val(everything, len(x_train), config)
    train = _select(x_train, arrays["y_train"], train_index)
    val = _select(x_train, arrays["y_train"], val_index)
    test = _select(x_test, arrays["y_test"], np.arange(len(x_test)))
    tasks, drawn = [TaskSplits(0, train, val, test)], [val_index]
    for task_id in range(1, config.num_tasks):
        order = _generator(config.seed, "permutation", task_id).permutation(x_train.shape[1])
        permutation = torch.from_numpy(order.astype(np.int64))
        views = (TaskData(d.x, d.y, permutation) for d in (train, val, test))
        tasks.append(TaskSplits(task_id, *views))
        drawn.append(order)
    return _benchmark(config, tasks, raw_digest, drawn)


def _benchmark(
    config: BenchmarkConfig,
    tasks: list[TaskSplits],
    raw_digest: str,
    drawn: Iterable[np.ndarray],
) -> Benchmark:
    # What was drawn is hashed too: a different generator would be different data.
    total = hashlib.sha256(raw_digest.encode())
    total.update(json.dumps(asdict(config), sort_keys=True).encode())
    for indices in drawn:
        total.update(indices.astype("<i8").tobytes())
    return Benchmark(
        name=config.name,
        tasks=tuple(tasks),
        input_shape=tuple(tasks[0].train.x.shape[1:]),
        classes_per_task=config.classes_per_task,
        digest=total.hexdigest()[:16],
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
    """Make grey images vectors, (N, H·W); put the channels of others first, (N, C, H, W)."""
    border = ((padding, padding), (padding, padding))
    if x.ndim == 3:
        return np.pad(x, ((0, 0), *border)).reshape(len(x), -1)
    padded = np.pad(x, ((0, 0), *border, (0, 0))) if padding else x
    return padded.transpose(0, 3, 1, 2)


def _select(x: np.ndarray, y: np.ndarray, index: np.ndarray) -> TaskData:
    # Indexing copies, so no tensor aliases the cached arrays.
    return TaskData(torch.from_numpy(np.ascontiguousarray(x[index])), torch.from_numpy(y[index]))


def _refuse_empty(task_id: int, classes: range, num_train: int, num_test: int) -> None:
    for split_name, count in (("training", num_train), ("test", num_test)):
        if count == 0:
            raise DataError(
                f"benchmark: the data have no {split_name} image for task {task_id}"
                f" (classes {classes[0]} to {classes[-1]}); use fewer tasks or complete data"
            )
