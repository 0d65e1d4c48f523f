"""Paired tests: exact, agreeing with scipy and with values by hand, and right in simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hcl.config import ConfigError
from sweeps.output.statistics.paired import (
    LEVEL,
    bootstrap_interval,
    describe_power,
    holm,
    paired_table,
    paired_tests,
    pairs_needed,
    sign_flip_p,
    smallest_p,
    ties,
)
from sweeps.output.table import Estimate

RUNS = 2000  # simulated studies; the share of 5% among them has a standard error of 0.5%


@pytest.mark.parametrize("n", [2, 5, 9])
def test_p_is_that_of_scipys_exact_permutation_test(n: int) -> None:
    gaps = np.random.default_rng(n).normal(0.5, 1.0, n)
    expected = stats.permutation_test(
        (gaps,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(gaps) == pytest.approx(min(1.0, float(expected.pvalue)))


def test_p_by_hand() -> None:
    assert sign_flip_p([1.0, 2.0, 3.0]) == 0.25  # +++ and --- of eight
    assert sign_flip_p([-1.0, 2.0, 3.0]) == 0.5  # 4 and more: +23 with either 1, twice
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p([0.1] * 6) == smallest_p(6) == 0.03125
    assert sign_flip_p([0.1] * 40) == smallest_p(40)
    assert sign_flip_p([1.0] * 100) == pytest.approx(2 / 10_000)  # drawn: the smallest there is


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=9))
def test_p_is_the_share_of_all_signs(gaps: list[int]) -> None:
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(gaps))).reshape(len(gaps), -1)
    expected = np.mean(np.abs(signs.T @ np.array(gaps)) >= abs(sum(gaps)))
    assert sign_flip_p([float(gap) for gap in gaps]) == pytest.approx(expected)
    assert sign_flip_p([-float(gap) for gap in gaps]) == pytest.approx(expected)


def test_what_so_many_pairs_can_show() -> None:
    assert [smallest_p(n) for n in (1, 5, 6)] == [1.0, 0.0625, 0.03125]
    assert (pairs_needed(), pairs_needed(15), pairs_needed(5)) == (6, 10, 8)
    for tests in range(1, 50):
        needed = pairs_needed(tests)
        assert tests * smallest_p(needed) <= LEVEL < tests * smallest_p(needed - 1)
    assert describe_power(5) == (
        "with 5 pairs the smallest two-sided p is 0.062; 6 pairs are needed for 0.05"
    )
    assert describe_power(10, 15).endswith("times 15 comparisons (Holm) 0.029: enough for 0.05")


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04 -> .04 .06 .06 .06: the third and fourth are held up by the second.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_order_and_never_lowers(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= c <= 1 or math.isclose(p, c) for p, c in zip(p_values, corrected, strict=True))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [corrected[i] for i in order] == sorted(corrected)


def test_other_pairs_are_an_error() -> None:
    first = {"seed 1": 90.0, "seed 2": 91.5, "seed 3": 92.0}
    with pytest.raises(ConfigError, match="b lacks seed 2, seed 3; c lacks seed 1"):
        paired_tests({"a": first, "b": {"seed 1": 1.0}, "c": {"seed 2": 1.0, "seed 3": 1.0}})


def test_a_training_shown_twice_is_not_tested_against_itself() -> None:
    values = {1: 90.0, 2: 91.0}
    assert paired_tests({"a": values, "b": values}) == []


def test_one_reference_has_fewer_comparisons() -> None:
    values = {name: {seed: seed * scale for seed in range(1, 9)} for name, scale in
              (("a", 3.0), ("b", 2.0), ("c", 1.0))}  # fmt: skip
    every, few = paired_tests(values), paired_tests(values, reference="a")
    assert [(t.first, t.second) for t in every] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(t.first, t.second) for t in few] == [("a", "b"), ("a", "c")]
    assert [t.corrected for t in every] == pytest.approx([3 / 128] * 3)
    assert [t.corrected for t in few] == pytest.approx([2 / 128] * 2)


def test_ties_are_within_one_sem_of_the_best() -> None:
    found = {"a": Estimate(90.0, 1.0, 5), "b": Estimate(89.0, 9.0, 5), "c": Estimate(80.5, 9.0, 5)}
    assert ties(found) == ["a", "b"]
    assert ties(found, mode="min") == ["c", "b"]
    assert ties({}) == [] and ties({"a": Estimate(1.0, None, 1)}) == ["a"]


def test_the_table_says_what_its_n_can_show() -> None:
    values = {"a": {1: 3.0, 2: 5.0, 3: 5.0}, "b": {1: 2.0, 2: 3.0, 3: 4.0}}
    table = paired_table("tests", {"row": values})
    ((row, pair, mean, interval, n, p, corrected, verdict),) = table.rows
    assert (row, pair, mean, n, p, corrected) == ("row", "a - b", "+1.33", "3", "0.25", "0.25")
    assert verdict == "too few pairs" and interval == "[+1.00, +2.00]"
    assert any("best mean a" in note for note in table.notes)


def _simulated(seed: int, methods: int, pairs: int, effect: float) -> list:
    """Draw one study: methods share each pair's difficulty; the first is better by `effect`."""
    draw = np.random.default_rng(seed)
    shared, own = draw.normal(0, 2, pairs), draw.normal(0, 1, (methods, pairs))
    own[0] += effect
    return paired_tests({f"m{i}": dict(enumerate(shared + own[i])) for i in range(methods)})


@pytest.mark.parametrize(("methods", "pairs"), [(2, 6), (4, 8)])
def test_errors_of_the_family_stay_below_5_percent(methods: int, pairs: int) -> None:
    wrong = np.mean([
        any(test.corrected <= LEVEL for test in _tests_without_intervals(s, methods, pairs, 0.0))
        for s in range(RUNS)
    ])  # fmt: skip
    assert wrong <= LEVEL + 0.015


def test_a_large_difference_is_found() -> None:
    found = [_tests_without_intervals(s, 2, 8, 3.0)[0].corrected <= LEVEL for s in range(200)]
    assert np.mean(found) > 0.9


def _tests_without_intervals(seed: int, methods: int, pairs: int, effect: float) -> list:
    with pytest.MonkeyPatch.context() as patch:  # they take nearly all of the time
        patch.setattr("sweeps.output.statistics.paired.bootstrap_interval", lambda gaps: None)
        return _simulated(seed, methods, pairs, effect)


@pytest.mark.parametrize(("pairs", "expected"), [(5, 0.92), (10, 0.945)])
def test_intervals_cover_the_true_difference(pairs: int, expected: float) -> None:
    """95% is asked for; no resample of five pairs lies beyond the smallest and the largest."""
    draw = np.random.default_rng(pairs)
    gaps = draw.normal(1.5, 1.0, (300, pairs))
    hit = [low <= 1.5 <= high for low, high in map(_interval, gaps)]
    assert np.mean(hit) == pytest.approx(expected, abs=0.035)  # two standard errors


def _interval(gaps: np.ndarray) -> tuple[float, float]:
    found = bootstrap_interval(list(gaps))
    assert found is not None and found == bootstrap_interval(list(gaps))
    return found
