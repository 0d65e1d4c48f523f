"""Rank correlation with an interval."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
MIN_RANKED = 5  # fewer have no interval
SPREAD = 0.437  # variance of atanh(tau) times (n - 4) (Fieller, Hartley and Pearson, 1957)


def kendall(
    first: Sequence[float], second: Sequence[float]
) -> tuple[float, tuple[float, float] | None]:
    """Compute Kendall's tau-b of paired values, NaN where one of them is constant.

    Returns:
        tau, and its interval by Fisher's transformation; None for fewer than MIN_RANKED pairs. At
        +-1 the interval is that of half a pair in the wrong order: equal ranks prove little.
    """
    n = len(first)
    tau = round(_tau(first, second), 12)  # so that 1 is 1
    if n < MIN_RANKED or tau != tau:
        return tau, None
    most = 1 - 2 / (n * (n - 1))
    centre = math.atanh(max(-most, min(most, tau)))
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(SPREAD / (n - 4))
    return tau, (math.tanh(centre - half), math.tanh(centre + half))


def _tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Compute tau-b (Kendall, 1945); scipy has it too, behind an import of a second."""
    signs = [np.sign(np.subtract.outer(values, values)) for values in (first, second)]
    untied = math.sqrt(math.prod(int(np.count_nonzero(one)) for one in signs))
    return float((signs[0] * signs[1]).sum()) / untied if untied else math.nan
