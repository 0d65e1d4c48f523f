"""Each task has all classes, and the pixels in an order of its own."""

import numpy as np
import torch

from hcl.benchmarks.arrays import Benchmark, TaskData, TaskSplits
from hcl.benchmarks.sequences.tasks import (
    all_classes,
    arrange,
    everything,
    generator,
    make_benchmark,
    make_task,
)
from hcl.benchmarks.sources import Part
from hcl.config import BenchmarkConfig
from hcl.storage.files import DataError


def permuted(config: BenchmarkConfig, parts: list[Part], order_seed: int) -> Benchmark:
    """Give each task all pixels in its own random order, task 0 the images as they are.

    With `first_task_permuted` task 0 has a random order too.
    """
    (part,) = parts
    arrays = arrange(part.arrays, config.padding)
    if arrays["x_train"].ndim != 2:
        raise DataError("benchmark/sequence: permuted takes grey images or features, not channels")
    first, kept = make_task(0, arrays, config, everything(arrays), all_classes(config, part))
    tasks, drawn = [] if config.first_task_permuted else [first], [kept]
    for task_id in range(len(tasks), config.num_tasks):
        pixels = arrays["x_train"].shape[1]
        order = generator(order_seed, "permutation", task_id).permutation(pixels)
        permutation = torch.from_numpy(order.astype(np.int64))
        views = [TaskData(d.x, d.y, permutation) for d in (first.train, first.val, first.test)]
        tasks.append(TaskSplits(task_id, views[0], views[1], views[2], first.labels))
        drawn.append(order)
    return make_benchmark(config, tasks, part.digest, drawn, part.num_classes)
