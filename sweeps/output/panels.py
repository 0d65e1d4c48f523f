"""Figures of panels side by side: pictures, and functions beside what they should be."""

from collections.abc import Mapping

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
