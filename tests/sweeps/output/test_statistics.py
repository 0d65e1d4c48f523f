"""Intervals and tests agree with scipy's own and with values computed by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeps.output.statistics import Difference, difference, holm, paired_tests
from sweeps.output.table import Estimate

A, B = [99.1, 99.4, 99.2, 99.7, 99.0], [98.0, 99.3, 97.5, 98.9]


def test_the_interval_is_welchs() -> None:
    found = difference(Estimate.of(A), Estimate.of(B))
    expected = stats.ttest_ind(A, B, equal_var=False).confidence_interval(0.95)
    assert found.mean == pytest.approx(sum(A) / 5 - sum(B) / 4)
    assert found.interval == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-2.0, -0.1), "below"),
        ((-0.1, 0.1), "matches"),
        ((0.1, 2.0), "above"),
        (None, "unknown"),
    ],
)
def test_the_verdict_says_where_zero_is(interval: tuple | None, verdict: str) -> None:
    assert Difference(0.0, interval).verdict == verdict


@pytest.mark.parametrize("seeds", [[99.0], [99.0, 99.1]])
def test_too_few_seeds_give_no_verdict(seeds: list[float]) -> None:
    assert difference(Estimate.of(seeds), Estimate(98.0, 0.1, 20)).verdict == "unknown"


def test_paired_tests_are_scipys_on_the_shared_seeds() -> None:
    first = {1: 90.0, 2: 91.5, 3: 92.0, 9: 10.0}
    second = {1: 89.0, 2: 91.0, 3: 90.0, 4: 99.0}
    (test,) = paired_tests({"a": first, "b": second})
    expected = stats.ttest_rel([90.0, 91.5, 92.0], [89.0, 91.0, 90.0])
    assert (test.first, test.second, test.n) == ("a", "b", 3)
    assert test.p == pytest.approx(expected.pvalue)
    assert test.mean == pytest.approx(3.5 / 3)


def test_a_training_shown_twice_is_not_tested_against_itself() -> None:
    values = {1: 90.0, 2: 91.0}
    assert paired_tests({"a": values, "b": values}) == []


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04 -> .04 .06 .06 .06: the third and fourth are held up by the second.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_order_and_never_lowers(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= c <= 1 or math.isclose(p, c) for p, c in zip(p_values, corrected, strict=True))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [corrected[i] for i in order] == sorted(corrected)
