"""Pictures of what a replay model generates."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GAP = 2  # white pixels between samples
MAX_ROWS = 25
SAMPLES = "samples_task_[0-9]*.png"  # pattern of `samples_path`


def save_samples(samples: Any, folder: Path, tasks_learned: int) -> Path:
    """Write a grid of generated inputs, one row per task, as `samples_task_03.png`.

    Args:
        samples: uint8 (rows, columns, *input_shape): colour images, channels first, or grey ones
            as vectors, which are taken to be square.
        folder: where the picture is written.
        tasks_learned: part of its name.

    Returns:
        The picture's path.
    """
    path = samples_path(folder, tasks_learned)
    grid(samples).save(path)
    return path


def samples_path(folder: Path, tasks_learned: int) -> Path:
    """Name the picture of what a model generates after so many tasks."""
    return folder / f"samples_task_{tasks_learned:02d}.png"


def grid(samples: Any) -> Image.Image:
    """Lay the samples side by side; rows beyond 25 are left out."""
    samples = np.asarray(samples)[:MAX_ROWS]
    rows, columns = samples.shape[:2]
    if samples.ndim == 5:
        tiles = samples.transpose(0, 1, 3, 4, 2)
    else:
        side = math.isqrt(samples[0, 0].size)
        tiles = samples.reshape(rows, columns, side, side)
    height, width, *colour = tiles.shape[2:]
    across, down = width + GAP, height + GAP
    size = (rows * down + GAP, columns * across + GAP, *colour)
    sheet = np.full(size, 255, dtype=np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = GAP + row * down, GAP + column * across
            sheet[top : top + height, left : left + width] = tiles[row, column]
    # Large enough for the eye; pixels stay pixels.
    zoom = max(1, 800 // max(sheet.shape[:2]))
    picture = Image.fromarray(sheet)
    return picture.resize((sheet.shape[1] * zoom, sheet.shape[0] * zoom), Image.Resampling.NEAREST)
