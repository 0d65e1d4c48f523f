"""Figures of panels side by side: pictures, and functions beside what they should be."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure


def pictures(images: Mapping[str, np.ndarray]) -> Figure:
    """Show pictures beside each other, pixel by pixel.

    Args:
        images: title -> uint8 (height, width, 3).
    """
    figure = Figure(figsize=(4.2 * len(images), 4.2), layout="constrained")
    axes = figure.subplots(1, len(images), squeeze=False)[0]
    for axis, (title, pixels) in zip(axes, images.items(), strict=True):
        axis.imshow(pixels, interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    return figure


# x and y of points on a function, each (N,).
Curve = tuple[np.ndarray, np.ndarray]


def learned_functions(
    rows: Mapping[str, Sequence[Sequence[Curve]]], targets: Sequence[Curve]
) -> Figure:
    """Draw functions after each task, a row of panels for each method, over what they should be.

    Args:
        rows: title -> for each task learned, the functions of the tasks so far.
        targets: the function of each task.
    """
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(3.2 * columns, 2.3 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
    for line, (title, moments) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(title, fontsize=9)
        for task, (axis, curves) in enumerate(zip(line, moments, strict=False)):
            for x, y in targets:
                axis.plot(x, y, color="0.6", lw=3, alpha=0.5)
            for number, (x, y) in enumerate(curves):
                axis.plot(x, y, color=f"C{number}", lw=1.2)
            axis.set_title(f"after task {task}", fontsize=9)
    low = min(float(y.min()) for _, y in targets)
    high = max(float(y.max()) for _, y in targets)
    axes[0][0].set_ylim(low - 0.5, high + 0.5)  # a forgotten curve may lie far outside
    return figure
