"""Intervals agree with scipy's own."""

import pytest
from scipy import stats

from sweeps.output.statistics.welch import Difference, difference
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
