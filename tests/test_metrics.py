"""Metrics against values computed by hand, and the relations that hold for every matrix."""

import copy
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcl import metrics

THREE_TASKS = [[0.9], [0.8, 0.7], [0.6, 0.75, 0.5]]
accuracies = st.floats(0.0, 1.0)


def triangles(min_tasks: int = 1) -> st.SearchStrategy[list[list[float]]]:
    """Draw matrices of `min_tasks` to 6 tasks."""

    def rows(num_tasks: int) -> st.SearchStrategy[list[list[float]]]:
        sizes = range(1, num_tasks + 1)
        row = [st.lists(accuracies, min_size=size, max_size=size) for size in sizes]
        return st.tuples(*row).map(list)

    return st.integers(min_tasks, 6).flatmap(rows)


def squared(rows: list[list[float]], fill: float) -> np.ndarray:
    full = np.full((len(rows), len(rows)), fill)
    for t, row in enumerate(rows):
        full[t, : t + 1] = row
    return full


def test_values_computed_by_hand() -> None:
    assert metrics.average_accuracy(THREE_TASKS) == pytest.approx((0.6 + 0.75 + 0.5) / 3)
    assert metrics.running_average_accuracy(THREE_TASKS) == pytest.approx([0.9, 0.75, 1.85 / 3])
    assert metrics.learning_accuracy(THREE_TASKS) == pytest.approx((0.9 + 0.7 + 0.5) / 3)
    assert metrics.backward_transfer(THREE_TASKS) == pytest.approx((-0.3 + 0.05) / 2)
    assert metrics.forgetting(THREE_TASKS) == pytest.approx((0.3 - 0.05) / 2)
    assert metrics.forward_transfer(THREE_TASKS, [0.1, 0.6, 0.7]) == pytest.approx(-0.05)


FULL = [[0.9, 0.3, 0.1], [0.8, 0.7, 0.2], [0.6, 0.75, 0.5]]


def test_other_metrics_by_hand() -> None:
    assert metrics.area_under_accuracy(THREE_TASKS) == pytest.approx((0.9 + 0.75 + 1.85 / 3) / 3)
    changes = (0.8 - 0.9) + (0.6 - 0.9) + (0.75 - 0.7)
    assert metrics.mean_backward_transfer(THREE_TASKS) == pytest.approx(changes / 3)
    assert metrics.stability(THREE_TASKS) == pytest.approx(1 + changes / 3)
    assert metrics.stability([[0.5], [0.7, 0.8]]) == 1.0  # it helped
    assert metrics.intransigence(THREE_TASKS, [0.95, 0.9, 0.4]) == pytest.approx(0.15 / 3)
    assert metrics.zero_shot_transfer(FULL, [0.9, 0.1, 0.3]) == pytest.approx((0.2 - 0.1) / 2)
    assert metrics.mean_zero_shot_transfer(FULL) == pytest.approx((0.3 + 0.1 + 0.2) / 3)
    assert metrics.mean_zero_shot_transfer([[0.4]]) == metrics.stability([[0.4]]) - 1 == 0


@pytest.mark.parametrize("found", [metrics.mean_zero_shot_transfer, metrics.zero_shot_transfer])
def test_a_triangle_says_nothing_of_tasks_not_yet_learned(found: Any) -> None:
    more = [[0.5] * 3] if found is metrics.zero_shot_transfer else []
    with pytest.raises(ValueError, match="must be scored before they are learned"):
        found(THREE_TASKS, *more)
    with pytest.raises(ValueError, match="finite"):
        found(squared(THREE_TASKS, float("nan")), *more)


def test_intransigence_needs_a_reference_for_each_task() -> None:
    with pytest.raises(ValueError, match=r"joint must have one accuracy per task \(3\)"):
        metrics.intransigence(THREE_TASKS, [0.9])


@given(triangles())
def test_areas_and_means_stay_among_the_accuracies(rows: list[list[float]]) -> None:
    flat = [value for row in rows for value in row]
    assert min(flat) - 1e-9 <= metrics.area_under_accuracy(rows) <= max(flat) + 1e-9
    assert 0 <= metrics.stability(rows) <= 1
    assert set(metrics.more(rows)) == {
        "area_under_accuracy",
        "mean_backward_transfer",
        "stability",
    }


def test_during_is_the_diagonal_and_after_the_last_row() -> None:
    rows = [[0.9], [0.8, 0.7], [0.5, 0.6, 0.4]]
    assert metrics.accuracy_during(rows) == [0.9, 0.7, 0.4]
    assert metrics.accuracy_after(rows) == [0.5, 0.6, 0.4]


def test_forgetting_is_from_the_best_not_from_the_first() -> None:
    rows = [[0.5], [0.9, 0.8], [0.4, 0.8, 1.0]]
    assert metrics.forgetting(rows) == pytest.approx((0.5 + 0.0) / 2)
    assert metrics.backward_transfer(rows) == pytest.approx((-0.1 + 0.0) / 2)


def test_forgetting_ignores_the_last_row_when_looking_for_the_best() -> None:
    assert metrics.forgetting([[0.5], [0.7, 0.8]]) == pytest.approx(-0.2)


def test_task_inference_accuracy_is_the_mean_of_a_row() -> None:
    assert metrics.task_inference_accuracy([1.0, 0.5, 0.0]) == pytest.approx(0.5)


def test_one_task_cannot_forget() -> None:
    assert metrics.summary([[0.8]]) == {
        "average_accuracy": 0.8,
        "learning_accuracy": 0.8,
        "backward_transfer": 0.0,
        "forgetting": 0.0,
    }
    assert metrics.forward_transfer([[0.8]], [0.1]) == 0.0


@given(triangles())
def test_relations_of_every_matrix(rows: list[list[float]]) -> None:
    found = metrics.summary(rows)
    num_tasks = len(rows)
    assert 0 <= found["average_accuracy"] <= 1
    assert 0 <= found["learning_accuracy"] <= 1
    assert -1 <= found["backward_transfer"] <= 1
    assert -1 <= found["forgetting"] <= 1
    assert found["forgetting"] >= -found["backward_transfer"] - 1e-12
    earlier = (num_tasks - 1) / num_tasks * found["backward_transfer"]
    assert found["average_accuracy"] == pytest.approx(found["learning_accuracy"] + earlier)
    assert metrics.running_average_accuracy(rows)[-1] == found["average_accuracy"]


@given(triangles(min_tasks=2), st.floats(-1, 1))
def test_transfer_ignores_a_common_shift(rows: list[list[float]], shift: float) -> None:
    moved = [[value + shift for value in row] for row in rows]
    assert metrics.backward_transfer(moved) == pytest.approx(
        metrics.backward_transfer(rows), abs=1e-9
    )
    assert metrics.forgetting(moved) == pytest.approx(metrics.forgetting(rows), abs=1e-9)


@given(triangles())
def test_own_diagonal_as_reference_gives_no_forward_transfer(rows: list[list[float]]) -> None:
    assert metrics.forward_transfer(rows, [row[-1] for row in rows]) == 0.0


@given(triangles(), st.sampled_from([0.0, 0.3, float("nan")]))
def test_full_arrays_count_below_the_diagonal_only(rows: list[list[float]], fill: float) -> None:
    full = squared(rows, fill)
    assert metrics.summary(full) == metrics.summary(rows) == metrics.summary(full.tolist())
    assert metrics.running_average_accuracy(full) == metrics.running_average_accuracy(rows)


@given(triangles())
def test_arguments_are_not_mutated(rows: list[list[float]]) -> None:
    before, full = copy.deepcopy(rows), squared(rows, 0.5)
    full_before = full.copy()
    for matrix in (rows, full):
        metrics.summary(matrix)
        metrics.running_average_accuracy(matrix)
        metrics.forward_transfer(matrix, rows[-1])
    assert rows == before
    assert np.array_equal(full, full_before)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([], "at least one row"),
        ([[]], "rows of length"),
        ([[0.5], [0.5]], "rows of length"),
        ([[0.5], [0.5, 0.5, 0.5]], "rows of length"),
        ([[0.5, 0.1], [0.5]], "rows of length"),
        (np.zeros((2, 3)), "rows of length"),
        (np.zeros(3), "list of numbers"),
        ([["high"]], "list of numbers"),
        (0.5, "list of rows"),
        ([[0.5], [float("nan"), 0.5]], r"accuracy\[1\]\[0\] must be a finite number but is nan"),
    ],
)
def test_malformed_matrices_are_refused(matrix: Any, message: str) -> None:
    for function in (metrics.summary, metrics.running_average_accuracy, metrics.forgetting):
        with pytest.raises(ValueError, match=message):
            function(matrix)


def test_malformed_references_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one accuracy per task \(3\) but has 2"):
        metrics.forward_transfer(THREE_TASKS, [0.5, 0.5])
    with pytest.raises(ValueError, match="at least one task"):
        metrics.task_inference_accuracy([])


def test_metrics_need_no_torch() -> None:
    script = "import sys, hcl.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
