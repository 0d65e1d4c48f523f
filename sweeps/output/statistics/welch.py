"""Confidence interval for the difference of two means over seeds that are not paired."""

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtrit

from sweeps.output.table import Estimate

CONFIDENCE = 0.95
MIN_SEEDS = 3  # two seeds give so wide an interval that everything would match

Verdict = Literal["matches", "below", "above", "unknown"]


@dataclass(frozen=True)
class Difference:
    """Ours minus theirs, with a confidence interval; None where the seeds are too few for one."""

    mean: float
    interval: tuple[float, float] | None

    @property
    def verdict(self) -> Verdict:
        """Return whether 0 is inside the interval, and if not, on which side of theirs we are."""
        if self.interval is None:
            return "unknown"
        low, high = self.interval
        return "below" if high < 0 else "above" if low > 0 else "matches"


def difference(ours: Estimate, theirs: Estimate) -> Difference:
    """Compute Welch's interval for the difference of two means (unequal variances).

    Its degrees of freedom are (a + b)^2 / (a^2 / (n_a - 1) + b^2 / (n_b - 1)), where a and b are
    the squared SEMs (Welch-Satterthwaite).
    """
    mean = ours.mean - theirs.mean
    if ours.sem is None or theirs.sem is None or min(ours.n, theirs.n) < MIN_SEEDS:
        return Difference(mean, None)
    variances = (ours.sem**2, theirs.sem**2)
    total = sum(variances)
    if total == 0:
        return Difference(mean, (mean, mean))
    freedom = total**2 / sum(v**2 / (n - 1) for v, n in zip(variances, (ours.n, theirs.n),
                                                            strict=True))  # fmt: skip
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(total)
    return Difference(mean, (mean - half, mean + half))
