"""Figures: their content, and whether a person can read it."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from sweeps.output.plots import (
    accuracy_thumbnail,
    average_accuracy_curves,
    png,
    put_title,
    square,
)


def rows(num_tasks: int) -> list[list[float]]:
    return [[0.9 - 0.001 * (t - i) for i in range(t + 1)] for t in range(num_tasks)]


def test_square_fills_the_upper_triangle_with_nan() -> None:
    full = square([[0.5], [None, 1.0]])
    np.testing.assert_array_equal(full, [[0.5, np.nan], [np.nan, 1.0]])


@pytest.mark.parametrize(("num_tasks", "numbers"), [(1, 1), (5, 15), (12, 78), (13, 0), (100, 0)])
def test_numbers_only_where_a_person_can_read_them(num_tasks: int, numbers: int) -> None:
    figure = accuracy_thumbnail("test/task", rows(num_tasks))
    axis = figure.axes[0]
    assert len(axis.texts) == numbers
    assert axis.get_title() == f"test/task: average {100 * np.mean(rows(num_tasks)[-1]):.2f}%"
    assert axis.images[0].get_clim() == (0, 100)  # the same scale for every run
    assert len(axis.get_xticks()) <= 12


def test_cells_show_percent_at_their_place() -> None:
    axis = accuracy_thumbnail("test/task", [[1.0], [0.25, 0.999]]).axes[0]
    shown = {text.get_position(): text.get_text() for text in axis.texts}
    assert shown == {(0, 0): "100", (0, 1): "25.0", (1, 1): "99.9"}


def test_a_png_has_stable_bytes() -> None:
    first, second = (png(accuracy_thumbnail("test/task", rows(5))) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("num_tasks", "text"), [(5, "90.0"), (10, "90"), (100, None)])
def test_thumbnails_are_square_and_in_large_type(num_tasks: int, text: str | None) -> None:
    figure = accuracy_thumbnail("test/task", rows(num_tasks))
    axis = figure.axes[0]
    assert (axis.texts[0].get_text() if axis.texts else None) == text
    assert len(figure.axes) == (2 if text is None else 1)  # a colour bar where no numbers are
    assert Image.open(io.BytesIO(png(figure, dpi=160))).size == (640, 640)
    # 256 of the 640 pixels' width are shown: type of 10 points is 9 pixels high there.
    assert all(label.get_fontsize() >= 10 for label in axis.texts)


def test_missing_values_are_left_empty() -> None:
    axis = accuracy_thumbnail("test/class", [[None], [None, None]]).axes[0]
    assert (len(axis.texts), axis.get_title()) == (0, "test/class")


def test_curves_have_a_band_of_one_sem() -> None:
    figure = average_accuracy_curves({"HNET": [[1.0, 0.8], [1.0, 0.6]], "SI": [[1.0, 0.5]]})
    (axis,) = figure.axes
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [100, 70])
    (band,) = axis.collections  # a single seed has no band
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (pytest.approx(60), pytest.approx(100))
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["HNET (n=2)", "SI (n=1)"]


def test_a_long_title_stays_inside() -> None:
    figure = average_accuracy_curves({"HNET": [[1.0, 0.8]]})
    put_title(figure, "accuracy against compression, permuted MNIST with ten tasks " * 3)
    figure.draw_without_rendering()
    (title,) = figure.texts
    box = title.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert title.get_text().count("\n") >= 1


def test_drawing_leaves_no_global_figure_behind() -> None:
    png(average_accuracy_curves({"HNET": [[1.0, 0.8]]}))
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
