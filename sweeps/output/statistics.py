"""Tests between means over seeds: confidence intervals, paired tests, Holm's correction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sweeps.output.table import Cell, Estimate, Table

CONFIDENCE = 0.95
MIN_SEEDS = 3  # with two, the interval is so wide that everything would match

Verdict = Literal["matches", "below", "above", "unknown"]


@dataclass(frozen=True)
class Difference:
    """Ours minus theirs, with a confidence interval; None where too little is known for one."""

    mean: float
    interval: tuple[float, float] | None

    @property
    def verdict(self) -> Verdict:
        """Whether 0 is inside the interval, and if not, on which side of theirs we are."""
        if self.interval is None:
            return "unknown"
        low, high = self.interval
        return "below" if high < 0 else "above" if low > 0 else "matches"


def difference(ours: Estimate, theirs: Estimate) -> Difference:
    """Welch's interval of the difference of two means from their SEMs (unequal variances)."""
    mean = ours.mean - theirs.mean
    if ours.sem is None or theirs.sem is None or min(ours.n, theirs.n) < MIN_SEEDS:
        return Difference(mean, None)
    from scipy import stats

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
        mean: of first - second over the seeds.
        n: seeds.
        p: two-sided; after `holm`, corrected.
    """

    first: str
    second: str
    mean: float
    n: int
    p: float


def paired_tests(values: dict[str, dict[int, float]]) -> list[PairedTest]:
    """Every pair of methods with at least two seeds in common, p corrected after Holm (1979).

    Pairs that are the same numbers (one training, shown twice) are left out.

    Args:
        values: method -> seed -> value.
    """
    from scipy import stats

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
    """Every pair of methods of every row as a table.

    Args:
        title: of the table.
        groups: row -> method -> seed -> value.
    """
    rows: list[tuple[Cell, ...]] = []
    for row, values in groups.items():
        for test in paired_tests(values):
            verdict = "differ" if test.p < 1 - CONFIDENCE else "no difference shown"
            pair = f"{test.first} - {test.second}"
            rows.append((row, pair, f"{test.mean:+.2f}", str(test.n), f"{test.p:.2g}", verdict))
    return Table(
        title,
        ("row", "pair", "mean difference", "seeds", "p", f"at {1 - CONFIDENCE:.0%}"),
        tuple(rows),
        ("paired t-tests over the seeds both have; p corrected after Holm within the row",),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: max over j <= i of min(1, (m - j) p_(j)), in given order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
