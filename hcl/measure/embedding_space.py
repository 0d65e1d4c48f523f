"""The space between task embeddings: accuracy of networks generated from points in it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hcl import seeding
from hcl.benchmarks.arrays import Benchmark
from hcl.config import ConfigError
from hcl.hypernets import TaskHypernet
from hcl.methods.hnet import Hnet

# Weights that are generated at once: bounds memory (64 MB in float32), not results.
WEIGHTS_AT_ONCE = 16_000_000


def square_grid(centers: Tensor, points: int) -> Tensor:
    """Make a square of evenly spaced embeddings around all of `centers`.

    Its side is twice the larger side of the centers' bounding box.

    Args:
        centers: (T, 2), e.g. the learned task embeddings.
        points: points per side, at least 2.

    Returns:
        (points * points, 2), the second coordinate changing fastest.
    """
    low, high = centers.min(dim=0).values, centers.max(dim=0).values
    half = (high - low).max().clamp_min(1e-3)
    middle = (low + high) / 2
    axes = [torch.linspace(float(m - half), float(m + half), points) for m in middle]
    return torch.cartesian_prod(*axes).to(centers)


@torch.no_grad()
def accuracy_over_embeddings(
    method: Hnet,
    benchmark: Benchmark,
    embeddings: Tensor,
    task_ids: Sequence[int],
    num_samples: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Measure test accuracies of the network generated from each embedding, task given (CL1).

    Args:
        method: trained, in evaluation mode.
        benchmark: its tasks.
        embeddings: (E, embedding_size).
        task_ids: tasks to score.
        num_samples: test samples of each task, a random subset that the benchmark's digest fixes;
            0 = all.
        progress: called with the number of embeddings done since the last call.

    Returns:
        float64 (len(task_ids), E), fractions.

    Raises:
        ConfigError: groups of parameters have own hypernetworks, so own embeddings.
    """
    hypernet = method.task_hypernet
    if not isinstance(hypernet, TaskHypernet):
        raise ConfigError("method/chunk_groups: an embedding space needs one hypernetwork")
    data = [_subset(benchmark, task_id, num_samples) for task_id in task_ids]
    at_once = max(1, WEIGHTS_AT_ONCE // method.num_target_weights())
    found = []
    for part in embeddings.split(at_once):
        weights = hypernet.generate(part)
        scores = [
            _accuracies(method, weights, x, y, task_id)
            for (x, y), task_id in zip(data, task_ids, strict=True)
        ]
        found.append(torch.stack(scores))
        if progress:
            progress(len(part))
    return torch.cat(found, dim=1).cpu()


def _subset(benchmark: Benchmark, task_id: int, num_samples: int) -> tuple[Tensor, Tensor]:
    test = benchmark.tasks[task_id].test
    order = torch.arange(len(test))
    if 0 < num_samples < len(test):
        draws = seeding.generator(benchmark.digest, "embedding-space", task_id)
        order = torch.randperm(len(test), generator=draws)[:num_samples]
    return test.batch(order.to(test.x.device))


def _accuracies(method: Hnet, weights: Tensor, x: Tensor, y: Tensor, task_id: int) -> Tensor:
    """Score each of the networks on one task's data, with that task's statistics: (E,)."""
    layout, buffers = method.layout, method.statistics.of(task_id)
    right = [
        layout.sum_score(method.target(one, x, buffers), y, task_id, method.num_learned, "task")
        for one in weights
    ]
    return torch.stack(right).double() / len(y)
