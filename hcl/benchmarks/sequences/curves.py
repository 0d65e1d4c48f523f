"""Regression of a number on a number: the toy example of von Oswald et al. (2020)."""

import hashlib
from collections.abc import Callable

import numpy as np
import torch

from hcl.benchmarks.arrays import Benchmark, TaskData, TaskSplits, settings_text
from hcl.benchmarks.sources import Part
from hcl.config import BenchmarkConfig

NUM_TRAIN, NUM_TEST, NOISE = 100, 50, 0.05
# Function and interval of each task (the authors' toy_example).
CURVES: tuple[tuple[Callable[[np.ndarray], np.ndarray], float, float], ...] = (
    (lambda x: x + 3, -4.0, -2.0),
    (lambda x: 2 * x**2 - 1, -1.0, 1.0),
    (lambda x: (x - 3) ** 3, 2.0, 4.0),
)


def curves(config: BenchmarkConfig, _: list[Part], __: int) -> Benchmark:
    """Draw training points uniformly, with noise; space test points evenly, without noise."""
    total = hashlib.sha256(settings_text(config).encode())
    draws = np.random.RandomState(config.seed)
    tasks = []
    for task_id, (curve, low, high) in enumerate(CURVES[: config.num_tasks]):
        x = draws.uniform(low, high, size=(NUM_TRAIN, 1))
        drawn = _points(x, curve(x) + NOISE * draws.randn(NUM_TRAIN, 1))
        num_val = round(config.val_fraction * NUM_TRAIN)  # the last ones: all are drawn at random
        train, val = (
            TaskData(drawn.x[part], drawn.y[part])
            for part in (slice(0, NUM_TRAIN - num_val), slice(NUM_TRAIN - num_val, None))
        )
        even = np.linspace(low, high, NUM_TEST)[:, None]
        test = _points(even, curve(even))
        tasks.append(TaskSplits(task_id, train, val, test))
        total.update(drawn.x.numpy().tobytes() + drawn.y.numpy().tobytes())
    return Benchmark(config.name, tuple(tasks), (1,), 1, total.hexdigest()[:16])


def _points(x: np.ndarray, y: np.ndarray) -> TaskData:
    return TaskData(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32)))
