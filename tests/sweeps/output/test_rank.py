"""Kendall's tau has an interval that covers the true one as often as promised."""

import math

import numpy as np
import pytest
from scipy import stats

from sweeps.output.statistics.rank import kendall


def test_tau_is_scipys_and_by_hand() -> None:
    assert kendall([1, 2, 3], [1, 3, 2]) == (pytest.approx(1 / 3), None)  # 2 pairs agree, 1 not
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=20), draw.normal(size=20)
    assert kendall(a, b)[0] == pytest.approx(stats.kendalltau(a, b).statistic)


def test_equal_ranks_are_no_proof() -> None:
    tau, interval = kendall(range(6), range(6))
    assert tau == 1.0 and interval is not None and 0.6 < interval[0] < interval[1] < 1.0
    more = kendall(range(30), range(30))[1]
    assert more is not None and more[0] > interval[0]


def test_constant_values_have_no_tau() -> None:
    tau, interval = kendall([1.0] * 6, range(6))
    assert math.isnan(tau) and interval is None


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_coverage(correlation: float) -> None:
    """Of normal pairs the true tau is 2 / pi asin(correlation)."""
    true, draw, hit = 2 / math.pi * math.asin(correlation), np.random.default_rng(1), 0
    for _ in range(400):
        a, b = draw.normal(size=(2, 12))
        interval = kendall(a, correlation * a + math.sqrt(1 - correlation**2) * b)[1]
        assert interval is not None
        hit += interval[0] <= true <= interval[1]
    assert hit / 400 == pytest.approx(0.95, abs=0.03)


def test_ties_count_as_scipy_counts_them() -> None:
    draw = np.random.default_rng(2)
    for n in (5, 9, 40):
        a = draw.integers(0, 4, n).astype(float)
        b = a + draw.integers(0, 4, n)
        assert kendall(a, b)[0] == pytest.approx(stats.kendalltau(a, b).statistic)
