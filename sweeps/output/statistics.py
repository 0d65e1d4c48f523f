"""Tests between means over seeds: confidence intervals, paired tests, Holm's correction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from sweeps.output.table import Estimate, Table

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
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(total)
    return Difference(mean, (mean - half, mean + half))


@dataclass(frozen=True)
class PairedTest:
    """A paired t-test between two methods on the seeds that both have.

    Attributes:
        first, second: names of the methods.
        mean: mean of first - second over the seeds.
        n: number of seeds.
        p: two-sided, corrected for the number of tests by `holm`.
    """

    first: str
    second: str
    mean: float
    n: int
    p: float


def paired_tests(values: dict[str, dict[int, float]]) -> list[PairedTest]:
    """Test every pair of methods that share at least two seeds; p corrected after Holm (1979).

    Pairs with the same numbers (one training, shown twice) are left out.

    Args:
        values: method -> seed -> value.
    """
    tests = []
    methods = list(values)
    for index, first in enumerate(methods):
        for second in methods[index + 1 :]:
            seeds = sorted(values[first].keys() & values[second].keys())
            gaps = [values[first][seed] - values[second][seed] for seed in seeds]
            if len(gaps) < 2 or len(set(gaps)) == 1:
                continue  # no variance to test against
            p = float(stats.ttest_1samp(gaps, 0.0).pvalue)
            tests.append(PairedTest(first, second, sum(gaps) / len(gaps), len(gaps), p))
    corrected = holm([test.p for test in tests])
    return [
        PairedTest(t.first, t.second, t.mean, t.n, p)
        for t, p in zip(tests, corrected, strict=True)
    ]


def paired_table(title: str, groups: dict[str, dict[str, dict[int, float]]]) -> Table:
    """Test the methods of every row in pairs and show the tests as a table.

    Args:
        title: of the table.
        groups: row -> method -> seed -> value.
    """
    tests = [(row, test) for row, values in groups.items() for test in paired_tests(values)]
    level = 1 - CONFIDENCE
    columns = {
        "row": [row for row, _ in tests],
        "pair": [f"{test.first} - {test.second}" for _, test in tests],
        "mean difference": [f"{test.mean:+.2f}" for _, test in tests],
        "seeds": [str(test.n) for _, test in tests],
        "p": [f"{test.p:.2g}" for _, test in tests],
        f"at {level:.0%}": [
            "differ" if test.p < level else "no difference shown" for _, test in tests
        ],
    }
    note = "paired t-tests over the seeds that both have; p corrected after Holm within each row"
    return Table.from_columns(title, columns, [note])


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct for the number of tests by Holm's step-down method (1979).

    The i-th smallest of m values becomes max over j <= i of min(1, (m - j) p_(j)), counted from 0.

    Returns:
        Corrected values, in the order given.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
