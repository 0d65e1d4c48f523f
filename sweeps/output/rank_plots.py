"""Figures of rankings: methods on the same pairs, early ranks of trials beside their last."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def pairs(values: Mapping[str, Mapping[int, float]]) -> Figure:
    """Draw every pair's value of each method, a pair joined by a line, with means and SEMs.

    Args:
        values: method -> pair -> value; all methods have the same pairs.
    """
    names = list(values)
    figure = Figure(figsize=(max(4.8, 1.1 * len(names) + 1.6), 4.2), layout="constrained")
    axis = figure.subplots()
    table = np.array([list(values[name].values()) for name in names])
    axis.plot(range(len(names)), table, color="0.75", lw=1, marker=".", zorder=1)
    sems = table.std(1, ddof=1) / np.sqrt(table.shape[1])
    axis.errorbar(range(len(names)), table.mean(1), sems, fmt="o", capsize=4, zorder=2)
    axis.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axis.set(ylabel="test average accuracy (%)", title="one line per pair; mean and SEM")
    axis.grid(axis="y", alpha=0.3)
    return figure


def early_ranks(
    lines: Mapping[str, Sequence[tuple[int, float, tuple[float, float] | None]]], enough: float
) -> Figure:
    """Draw how well trials are ranked after k tasks, with intervals.

    Args:
        lines: label -> its points, each k, Kendall's tau, and its interval where there is one.
        enough: the tau from which on a rank is trusted; drawn as a level.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    for label, points in lines.items():
        ks, taus = [k for k, _, _ in points], [tau for _, tau, _ in points]
        (line,) = axis.plot(ks, taus, marker="o", ms=4, label=label)
        known = [(k, found) for k, _, found in points if found]
        if known:
            low, high = zip(*(found for _, found in known), strict=True)
            axis.fill_between(
                [k for k, _ in known], low, high, color=line.get_color(), alpha=0.2, lw=0
            )
    axis.axhline(enough, ls="--", color="0.4", lw=1)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="tasks learned", ylabel="Kendall's tau to the ranks at the end", ylim=(-1, 1))
    axis.grid(alpha=0.3)
    axis.legend(title="band: 95% interval", fontsize=8)
    return figure
