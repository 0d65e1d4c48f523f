"""Data of tasks as tensors: uint8 on the device; each batch is scaled and permuted."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hcl.config import BenchmarkConfig
from hcl.config.schema import added_later_at_default
from hcl.storage.files import DataError


class PixelStatistics(NamedTuple):
    """Mean and standard deviation of each channel, of pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = PixelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


# eq=False: comparing tensors gives tensors, so only identity is a useful equality.
@dataclass(frozen=True, eq=False)
class TaskData:
    """One split of one task. Tasks share storage wherever their pixels are the same."""

    x: Tensor  # uint8, or float32 features (N, *input_shape)
    # int64 (N,), label within the task: 0 .. classes_per_task - 1; float32 (N, outputs) of numbers
    y: Tensor
    permutation: Tensor | None = None  # int64 (D,), new pixel order; None = as it is

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the samples at `index` (int64, same device): x float32 and y.

        Pixels are in [0, 1]; features are as the data have them.
        """
        x = self.x.index_select(0, index)
        if self.permutation is not None:
            # gather, because index_select along the last dimension is several times slower here
            x = x.gather(1, self.permutation.expand(len(x), -1))
        # A CPU convolves images faster when the channels of a pixel lie together in memory.
        together = x.ndim == 4 and x.device.type == "cpu"
        order = torch.channels_last if together else torch.preserve_format
        is_image = x.dtype == torch.uint8
        x = x.to(torch.float32, memory_format=order)
        return x.div_(255) if is_image else x, self.y.index_select(0, index)

    def _map(self, move: Callable[[Tensor], Tensor]) -> "TaskData":
        permutation = None if self.permutation is None else move(self.permutation)
        return TaskData(move(self.x), move(self.y), permutation)


@dataclass(frozen=True, eq=False)
class TaskSplits:
    """Data of one task; `val` is empty where no validation split was asked for."""

    task_id: int
    train: TaskData
    val: TaskData
    test: TaskData
    labels: tuple[int, ...] = ()  # of its classes, as the data have them; none in a regression


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A sequence of tasks."""

    name: str
    tasks: tuple[TaskSplits, ...]
    input_shape: tuple[int, ...]  # as a network sees one sample
    classes_per_task: int | tuple[int, ...]  # of every task, or of each
    # 16 hex: raw arrays, settings and what was drawn from them; not the device. What follows the
    # trial's seed (`order_seed: trial`) is left out: all seeds of a configuration have one digest.
    digest: str
    pixel_statistics: PixelStatistics | None = None  # what networks normalise images with
    class_names: tuple[str | int, ...] = ()  # of each label, where the data call it otherwise

    def to(self, device: torch.device | str) -> "Benchmark":
        """Copy the benchmark to `device`; what tasks share is moved once and stays shared."""
        moved: dict[int, Tensor] = {}

        def move(tensor: Tensor) -> Tensor:
            return moved.setdefault(id(tensor), tensor.to(device))

        tasks = tuple(
            replace(t, train=t.train._map(move), val=t.val._map(move), test=t.test._map(move))
            for t in self.tasks
        )
        return replace(self, tasks=tasks)


def choose_statistics(
    config: BenchmarkConfig, tasks: Sequence[TaskSplits]
) -> PixelStatistics | None:
    """Give what `benchmark/normalise` names; "dataset": all tasks' training images together."""
    if config.normalise == "none":
        return None
    if config.normalise == "imagenet":
        return IMAGENET
    if tasks[0].train.x.dtype != torch.uint8:
        raise DataError(
            "benchmark/normalise: dataset takes pixels (uint8), but these images are"
            f" {tasks[0].train.x.dtype}; use none, and normalise them in your own code"
        )
    counts = np.zeros((tasks[0].train.x.shape[1], 256))  # (channels, values of a pixel)
    for task in tasks:
        for channel, seen in zip(task.train.x.numpy().swapaxes(0, 1), counts, strict=True):
            seen += np.bincount(channel.ravel(), minlength=256)
    share, values = counts / counts.sum(1, keepdims=True), np.arange(256) / 255
    mean = share @ values
    std = np.sqrt(np.maximum(share @ values**2 - mean**2, 0))
    std[std < 1e-6] = 1.0  # a channel without contrast
    return PixelStatistics(tuple(mean.tolist()), tuple(std.tolist()))


def settings_text(config: BenchmarkConfig) -> str:
    """Write the settings for a benchmark's digest, as they were before newer ones existed."""
    newer = added_later_at_default(config)
    return json.dumps({k: v for k, v in asdict(config).items() if k not in newer}, sort_keys=True)
