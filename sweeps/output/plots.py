"""Figures: accuracy matrices, curves over tasks, scans of a setting, planes of embeddings.

They are drawn with Agg and without pyplot: no display, no global state, safe in a trial's thread.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

# accuracy[t][i]: accuracy on task i after learning task t, i <= t; None where not measured.
Matrix = Sequence[Sequence[float | None]]

MAX_TASKS_WITH_NUMBERS = 12  # more cells than that cannot hold a number a person can read


def square(matrix: Matrix) -> np.ndarray:
    """Fill the lower-triangular rows up to a (T, T) array, NaN where there is no value."""
    tasks = len(matrix)
    full = np.full((tasks, tasks), np.nan)
    for row, values in enumerate(matrix):
        full[row, : len(values)] = [np.nan if v is None else v for v in values]
    return full


def accuracy_thumbnail(name: str, matrix: Matrix) -> Figure:
    """Draw one matrix, square and in large type: MLflow's image grid shows it in 256 pixels."""
    figure = _figure(width=4.0, height=4.0)
    axis = figure.subplots()
    image = _draw_matrix(axis, name, square(matrix))
    if len(matrix) > MAX_TASKS_WITH_NUMBERS:
        figure.colorbar(image, ax=axis, fraction=0.05, pad=0.02)
    return figure


def average_accuracy_curves(curves: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Draw the mean over seeds of the average accuracy after each task, with a band of one SEM.

    Args:
        curves: label -> one list per seed, each with T fractions; a band needs two seeds.
    """
    figure = _figure(width=6.4, height=4.2)
    axis = figure.subplots()
    longest = 1
    for label, seeds in curves.items():
        values = 100 * np.asarray(seeds, dtype=float)
        longest = max(longest, values.shape[1])
        _banded(axis, np.arange(1, values.shape[1] + 1), values, label)
    axis.set(
        xlabel="tasks learned", ylabel="average accuracy (%)", xticks=_ticks(longest, first=1)
    )
    axis.grid(alpha=0.3)
    if curves:
        axis.legend(title="mean, band: SEM")
    return figure


def during_and_after(lines: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Draw the accuracy on each task just after learning it, and after the last, side by side.

    Args:
        lines: label -> its two arrays (seeds, T), fractions; means with a band of one SEM.
    """
    figure = _figure(width=9.6, height=4.2)
    axes = figure.subplots(1, 2, sharey=True)
    for index, (axis, when) in enumerate(zip(axes, ("during", "after"), strict=True)):
        tasks = 1
        for label, values in lines.items():
            tasks = max(tasks, values[index].shape[1])
            _banded(axis, np.arange(values[index].shape[1]), 100 * values[index], label)
        axis.set(xlabel="task", title=when, xticks=_ticks(tasks))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy on the task (%)")
    if lines:
        axes[1].legend(title="mean, band: SEM", fontsize=8)
    return figure


def _banded(axis: Axes, steps: np.ndarray, values: np.ndarray, label: str) -> None:
    """Draw the mean over seeds (the first dimension) with a band of one SEM."""
    count, mean = len(values), values.mean(0)
    (line,) = axis.plot(steps, mean, marker="o", ms=3, label=f"{label} (n={count})")
    if count > 1:
        sem = values.std(0, ddof=1) / np.sqrt(count)
        axis.fill_between(steps, mean - sem, mean + sem, color=line.get_color(), alpha=0.2, lw=0)


def scan(
    lines: Mapping[str, Sequence[tuple[float, Sequence[float]]]],
    xlabel: str,
    ylabel: str,
    is_log: bool = False,
) -> Figure:
    """Draw the mean over seeds against a setting or a size, with a band of one SEM.

    Args:
        lines: label -> its points, each x and one value per seed. A label whose x is NaN is
            drawn as a level.
        xlabel: name of x.
        ylabel: name and unit of the values.
        is_log: a logarithmic x axis.
    """
    figure = _figure(width=6.4, height=4.2)
    axis = figure.subplots()
    for label, points in lines.items():
        found = [(x, np.asarray(values, dtype=float)) for x, values in points if x == x]
        known = sorted(found, key=lambda point: point[0])
        if not known:
            level = float(np.mean([np.mean(values) for _, values in points]))
            axis.axhline(level, ls="--", color="0.4", label=f"{label} (n={len(points[0][1])})")
            continue
        xs = np.array([x for x, _ in known])
        means = np.array([values.mean() for _, values in known])
        sems = np.array([_sem(values) for _, values in known])
        (line,) = axis.plot(xs, means, marker="o", ms=4, label=f"{label} (n={len(known[0][1])})")
        axis.fill_between(xs, means - sems, means + sems, color=line.get_color(), alpha=0.2, lw=0)
    axis.set(xlabel=xlabel, ylabel=ylabel, **({"xscale": "log"} if is_log else {}))
    if is_log:
        axis.xaxis.set_major_formatter("{x:g}")
    axis.grid(alpha=0.3)
    axis.legend(title="mean, band: SEM")
    return figure


def put_title(figure: Figure, text: str) -> None:
    """Write a title over the whole figure, in as many lines as it takes."""
    size = 10  # points
    characters = int(figure.get_figwidth() * 72 / (0.55 * size))
    figure.suptitle(textwrap.fill(text, characters), fontsize=size)


def _sem(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def embedding_space(
    panels: Mapping[str, np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    points: np.ndarray,
    own: Mapping[str, int],
) -> Figure:
    """Draw the accuracy of the networks that a hypernetwork generates over a plane of embeddings.

    Args:
        panels: title -> accuracies in percent, (len(x), len(y)).
        x: first coordinates of the grid, evenly spaced.
        y: second coordinates, evenly spaced.
        points: (T, 2), the learned embeddings; drawn with their task's number.
        own: title -> the task whose embedding stands out in that panel.
    """
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = _figure(width=3.1 * columns + 0.7, height=3.1 * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    steps = ((x[1] - x[0]) / 2, (y[1] - y[0]) / 2)  # a value is the middle of its square
    extent = (x[0] - steps[0], x[-1] + steps[0], y[0] - steps[1], y[-1] + steps[1])
    image = None
    for axis, (title, values) in zip(axes, panels.items(), strict=False):
        image = axis.imshow(
            values.T, origin="lower", extent=extent, vmin=0, vmax=100, cmap="viridis"
        )
        axis.set_title(title, fontsize=9)
        _mark(axis, points, own.get(title))
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    if image is not None:
        figure.colorbar(image, ax=list(axes), fraction=0.03, pad=0.01).set_label("accuracy (%)")
    return figure


def _mark(axis: Axes, points: np.ndarray, own: int | None) -> None:
    """Draw numbered points that can be seen on dark and on bright ground."""
    for number, point in enumerate(points):
        color = "tomato" if number == own else "white"
        axis.plot(*point, marker="o", ms=4, color=color, mec="black", mew=0.7)
        axis.annotate(str(number), tuple(point), color=color, fontsize=8,
                      path_effects=[withStroke(linewidth=1.5, foreground="black")],
                      textcoords="offset points", xytext=(3, 3))  # fmt: skip


def pareto_front(
    values: Mapping[int, Sequence[float]], front: Sequence[int], names: Sequence[str]
) -> Figure:
    """Draw every trial by its first two objectives, the Pareto front joined and numbered.

    Args:
        values: trial number -> its objectives.
        front: numbers of the trials that no other dominates.
        names: names of the objectives.
    """
    figure = _figure(width=6.4, height=4.6)
    axis = figure.subplots()
    others = [values[number][:2] for number in values if number not in front]
    if others:
        x, y = zip(*others, strict=True)
        axis.scatter(x, y, c="0.7", label="dominated")
    points = sorted((*values[number][:2], number) for number in front)
    left, up, _ = zip(*points, strict=True)
    axis.plot(left, up, marker="o", lw=1, label="Pareto front")
    for first, second, number in points:
        axis.annotate(str(number), (first, second), textcoords="offset points", xytext=(4, 4))
    axis.set(xlabel=names[0], ylabel=names[1])
    axis.grid(alpha=0.3)
    axis.legend(title="trials")
    return figure


def png(figure: Figure, dpi: int = 130) -> bytes:
    """Return the content of a PNG file, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def image(figure: Figure, dpi: int) -> Image.Image:
    """Return the figure's pixels, without writing a file."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_matrix(axis: Axes, name: str, values: np.ndarray) -> Any:
    tasks = len(values)
    percent = 100 * values
    image = axis.imshow(np.ma.masked_invalid(percent), vmin=0, vmax=100, cmap="viridis")
    axis.set_facecolor("0.93")
    last = percent[-1][~np.isnan(percent[-1])]
    title = f"{name}: average {last.mean():.2f}%" if last.size else name
    axis.set_title(title, fontsize=16)
    axis.set(xticks=_ticks(tasks), yticks=_ticks(tasks))
    axis.set_xlabel("accuracy on task", fontsize=13.5)
    axis.set_ylabel("after learning task", fontsize=13.5)
    axis.tick_params(labelsize=13.5)
    if tasks <= MAX_TASKS_WITH_NUMBERS:
        _write_numbers(axis, percent)
    return image


def _write_numbers(axis: Axes, percent: np.ndarray) -> None:
    tasks = len(percent)
    size, digits = (17.5, 1) if tasks <= 6 else (10.8, 0)
    for row, column in zip(*np.nonzero(~np.isnan(percent)), strict=True):
        value = percent[row, column]
        # Dark digits on viridis' bright end, white ones below it.
        color = "black" if value > 60 else "white"
        text = f"{value:.{digits}f}" if value < 99.95 else "100"
        # They lie within the axes: a layout that measures them takes twice as long.
        axis.text(column, row, text, ha="center", va="center", color=color, fontsize=size,
                  in_layout=False)  # fmt: skip


def _ticks(tasks: int, first: int = 0) -> list[int]:
    """Choose at most about a dozen whole numbers, from `first` on."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 10**6) if tasks <= 12 * s)
    ticks = list(range(0, tasks + first, step)) if step > 1 else list(range(first, tasks + first))
    return [tick for tick in ticks if tick >= first]
