"""Each task has all classes, and the images turned by an angle of its own."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.benchmarks.arrays import Benchmark
from hcl.benchmarks.files import RawArrays
from hcl.benchmarks.sequences.tasks import (
    all_classes,
    arrange,
    everything,
    make_benchmark,
    make_task,
)
from hcl.benchmarks.sources import Part
from hcl.config import BenchmarkConfig
from hcl.storage.files import DataError

HALF_TURN = 180.0
AT_ONCE = 4096  # images: bounds memory


def rotated(config: BenchmarkConfig, parts: list[Part], _: int) -> Benchmark:
    """Turn all images by each task's angle (Lopez-Paz & Ranzato, 2017); padding comes first.

    Turned pixels are stored, one copy of the data for each task.
    """
    (part,) = parts
    if part.arrays["x_train"].ndim == 2:
        raise DataError(
            "benchmark/sequence: rotated takes images (N, H, W) or (N, H, W, C), but these have"
            f" features {part.arrays['x_train'].shape}"
        )
    tasks, drawn = [], []
    for task_id, degrees in enumerate(angles(config)):
        arrays = arrange(_turned(part.arrays, config.padding, degrees), 0)
        index, classes = everything(arrays), all_classes(config, part)
        task, kept = make_task(task_id, arrays, config, index, classes)
        tasks.append(task)
        drawn.append(kept)
    return make_benchmark(config, tasks, part.digest, drawn, part.num_classes)


def angles(config: BenchmarkConfig) -> tuple[float, ...]:
    """List each task's angle in degrees: the settings', or evenly spaced ones below 180."""
    spaced = tuple(HALF_TURN * i / config.num_tasks for i in range(config.num_tasks))
    return config.angles or spaced


def _turned(arrays: RawArrays, padding: int, degrees: float) -> RawArrays:
    """Pad and turn the images of all splits; labels stay as they are."""
    found = {}
    for key, array in arrays.items():
        if key.startswith("x_"):
            border = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
            padded = torch.from_numpy(np.pad(array, border[: array.ndim]))
            channels = padded[:, None] if array.ndim == 3 else padded.permute(0, 3, 1, 2)
            turned = rotate(channels, degrees)
            back = turned[:, 0] if array.ndim == 3 else turned.permute(0, 2, 3, 1)
            array = back.numpy()
        found[key] = array
    return found


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn images counter-clockwise about their centre: bilinear, with zeros from outside.

    Args:
        images: uint8 or float32 (N, C, H, W).
        degrees: any finite angle.

    Returns:
        As `images`; uint8 is rounded.
    """
    if degrees % 360 == 0:
        return images
    height, width = images.shape[2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # Where an output's pixel is in the input, with coordinates from -1 to 1 along either side.
    back = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
    # In float64: no pixel is rounded differently on another machine.
    grid = F.affine_grid(
        torch.tensor([back], dtype=torch.float64), [1, 1, height, width], align_corners=False
    )
    turned = []
    for part in images.split(AT_ONCE):
        places = grid.expand(len(part), -1, -1, -1)
        found = F.grid_sample(part.double(), places, align_corners=False)
        turned.append((found.round() if images.dtype == torch.uint8 else found).to(images.dtype))
    return torch.cat(turned)
