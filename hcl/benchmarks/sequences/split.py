"""Each task has the next classes of a data set, then of the next one."""

import numpy as np

from hcl.benchmarks.arrays import Benchmark, TaskSplits
from hcl.benchmarks.sequences.tasks import arrange, generator, make_benchmark, make_task
from hcl.benchmarks.sources import Part
from hcl.config import BenchmarkConfig


def split(config: BenchmarkConfig, parts: list[Part], order_seed: int) -> Benchmark:
    """Give each task the next `classes_per_task` classes of a data set, then of the next one.

    A task's labels are 0, 1, ... in the order of its classes.
    """
    tasks: list[TaskSplits] = []
    drawn: list[np.ndarray] = []
    for part in parts:
        arrays = arrange(part.arrays, config.padding)
        order = class_order(config, part.num_classes, order_seed)
        if config.class_order == "shuffled":
            drawn.append(order)
        for classes in _shares(order, config):

            def members(split: str, wanted: np.ndarray = classes) -> np.ndarray:
                return np.flatnonzero(np.isin(arrays[f"y_{split}"], wanted))  # noqa: B023

            task, kept = make_task(len(tasks), arrays, config, members, classes)
            tasks.append(task)
            drawn.append(kept)
    digests = "".join(part.digest for part in parts)
    return make_benchmark(config, tasks, digests, drawn, config.classes_per_task)


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
    shuffled = generator(order_seed, "class_order").permutation(num_classes)
    return shuffled[: sum(config.sizes)]
