"""Paired comparisons of methods on the same seeds and tasks: exact tests, intervals, ties.

A pair is one seed with one order of the tasks, on which both methods were trained. Nothing is
assumed about how their differences are distributed, except that without a real difference either
sign is as likely.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtrit

from hcl.config import ConfigError
from sweeps.output import table
from sweeps.output.metric_names import describe_interval
from sweeps.output.table import Estimate, Table

CONFIDENCE = 0.95
LEVEL = 0.05
MIN_PAIRS = 3  # fewer give no interval
MOST_EXACT = 40  # pairs; beyond, random sign flips are drawn
RESAMPLES = 9999

Values = Mapping[Any, float]  # pair -> value


@dataclass(frozen=True)
class PairedTest:
    """Two methods on the pairs that both have.

    Attributes:
        first, second: names of the methods.
        mean: mean of first - second over the pairs.
        interval: bootstrap interval of that mean; None for fewer than MIN_PAIRS pairs.
        n: number of pairs.
        p: two-sided p of the exact sign-flip test.
        corrected: p corrected for the number of tests by `holm`.
        can_show: whether n pairs can reach LEVEL at all among so many tests.
    """

    first: str
    second: str
    mean: float
    interval: tuple[float, float] | None
    n: int
    p: float
    corrected: float
    can_show: bool

    @property
    def verdict(self) -> str:
        """Say in words what the test shows at LEVEL."""
        if self.corrected <= LEVEL:
            return "differ"
        return "no difference shown" if self.can_show else "too few pairs"


def sign_flip_p(gaps: Sequence[float]) -> float:
    """Compute the two-sided p of the exact paired sign-flip test.

    It is the share of the 2^n choices of signs whose sum is at least as far from 0 as the observed
    one (Fisher, The Design of Experiments, 1935, section 21). The sums of two halves are combined,
    so that 40 pairs need a million sums. Beyond MOST_EXACT pairs RESAMPLES choices are drawn.
    """
    sample = np.asarray(gaps, dtype=float)
    rounding = 1e-9 * float(np.abs(sample).sum())
    observed = abs(float(sample.sum())) - rounding
    if observed <= 0:
        return 1.0
    if len(sample) > MOST_EXACT:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (RESAMPLES, len(sample)))
        return min(1.0, 2 * (1 + int((signs @ sample >= observed).sum())) / (1 + RESAMPLES))
    half = len(sample) // 2
    left, right = _signed_sums(sample[:half]), np.sort(_signed_sums(sample[half:]))
    extreme = len(right) - np.searchsorted(right, observed - left)
    return min(1.0, 2 * int(extreme.sum()) / 2 ** len(sample))


def _signed_sums(values: np.ndarray) -> np.ndarray:
    """Return the sums of all choices of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def bootstrap_interval(gaps: Sequence[float]) -> tuple[float, float] | None:
    """Compute a bootstrap interval of the mean, None for fewer than MIN_PAIRS values.

    Percentiles of a small sample's bootstrap are too narrow; they are widened to the level
    Phi(-sqrt(n / (n - 1)) t), with t Student's quantile (Hesterberg, 2015, section 4.4). Draws
    are seeded: the same values give the same interval.
    """
    return _interval(tuple(map(float, gaps))) if len(gaps) >= MIN_PAIRS else None


@lru_cache(maxsize=1000)  # several tables show the same pair
def _interval(gaps: tuple[float, ...]) -> tuple[float, float]:
    n = len(gaps)
    if len(set(gaps)) == 1:
        return gaps[0], gaps[0]
    quantile = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * math.sqrt(n / (n - 1))
    outside = float(ndtr(-quantile))
    drawn = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    means = np.asarray(gaps)[drawn].mean(axis=1)
    low, high = np.percentile(means, [100 * outside, 100 * (1 - outside)])
    return float(low), float(high)


def smallest_p(pairs: int) -> float:
    """Return the smallest two-sided p that a sign-flip test over so many pairs can give."""
    return min(1.0, 2.0 ** (1 - pairs))


def pairs_needed(tests: int = 1) -> int:
    """Return how many pairs let the best of so many tests reach LEVEL after `holm`."""
    return max(1, math.ceil(1 - math.log2(LEVEL / tests)))


def describe_power(pairs: int, tests: int = 1) -> str:
    """Say before any training what so many pairs can show."""
    smallest = smallest_p(pairs)
    said = f"with {pairs} pairs the smallest two-sided p is {smallest:.2g}"
    if tests > 1:
        said += f", times {tests} comparisons (Holm) {min(1.0, tests * smallest):.2g}"
    needed = pairs_needed(tests)
    if pairs < needed:
        return f"{said}; {needed} pairs are needed for {LEVEL:g}"
    return f"{said}: enough for {LEVEL:g}"


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct for the number of tests by Holm's step-down method (1979).

    The i-th smallest of m values becomes max over j <= i of min(1, (m - j) p_(j)), counted from 0.

    Returns:
        Corrected values, in the order given.
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    steps = np.maximum.accumulate(np.minimum(1.0, factors * np.asarray(p_values)[order]))
    corrected = np.empty(len(p_values))
    corrected[order] = steps
    return [float(p) for p in corrected]


def check_same_pairs(values: Mapping[str, Values], where: str) -> None:
    """Refuse methods that were not trained on the same pairs.

    Args:
        values: method -> pair -> value.
        where: what is compared, for the message.

    Raises:
        ConfigError: names the methods and the pairs that each lacks.
    """
    every = list(dict.fromkeys(pair for found in values.values() for pair in found))
    lacking = {m: [p for p in every if p not in found] for m, found in values.items()}
    if any(lacking.values()):
        said = "; ".join(
            f"{method} lacks {', '.join(map(str, pairs))}" for method, pairs in lacking.items()
            if pairs
        )  # fmt: skip
        raise ConfigError(
            f"{where}: methods are only compared on the same seeds, orders and data, but {said}"
        )


def paired_tests(values: Mapping[str, Values], reference: str = "") -> list[PairedTest]:
    """Test every pair of methods, or each against the reference, corrected after Holm.

    Methods with equal numbers everywhere (one training, shown twice) are not tested against each
    other, nor is anything on a single pair.

    Args:
        values: method -> pair -> value.
        reference: the method that each other one is compared with; "" = all with all.

    Raises:
        ConfigError: the methods were trained on different pairs.
    """
    check_same_pairs(values, "paired tests")
    tests = []
    for first, second in method_pairs(list(values), reference):
        gaps = [values[first][pair] - values[second][pair] for pair in values[first]]
        if len(gaps) > 1 and any(gaps):
            mean, interval = float(np.mean(gaps)), bootstrap_interval(gaps)
            p = sign_flip_p(gaps)
            tests.append(PairedTest(first, second, mean, interval, len(gaps), p, p, False))
    corrected = holm([test.p for test in tests])
    return [
        replace(test, corrected=p, can_show=test.n >= pairs_needed(len(tests)))
        for test, p in zip(tests, corrected, strict=True)
    ]


def method_pairs(methods: Sequence[str], reference: str = "") -> list[tuple[str, str]]:
    """List the comparisons: all with all, or the reference with each other method."""
    if reference:
        return [(reference, other) for other in methods if other != reference]
    return [(a, b) for i, a in enumerate(methods) for b in methods[i + 1 :]]


def ties(estimates: Mapping[str, Estimate], mode: str = "max") -> list[str]:
    """List the best method, and those within one SEM of it, as `sweeps.output.table.ties`."""
    sign = 1 if mode == "max" else -1
    ranked = sorted(estimates, key=lambda name: -sign * estimates[name].mean)
    tied = table.ties([estimates[name] for name in ranked], mode)
    return [name for i, name in enumerate(ranked) if i in tied]


def paired_table(
    title: str,
    groups: Mapping[str, Mapping[str, Values]],
    mode: str = "max",
    reference: str = "",
) -> Table:
    """Show the tests of every row's methods, and which of them tie with the best.

    Args:
        title: of the table.
        groups: row -> method -> pair -> value.
        mode: "max" or "min": which values are better.
        reference: see `paired_tests`.

    Raises:
        ConfigError: the methods of a row were trained on different pairs.
    """
    for row, values in groups.items():
        check_same_pairs(values, row)
    tests = [
        (row, test) for row, values in groups.items() for test in paired_tests(values, reference)
    ]
    columns = {
        "row": [row for row, _ in tests],
        "pair": [f"{test.first} - {test.second}" for _, test in tests],
        "mean difference": [f"{test.mean:+.2f}" for _, test in tests],
        f"{CONFIDENCE:.0%} interval": [describe_interval(test.interval) for _, test in tests],
        "pairs": [str(test.n) for _, test in tests],
        "p": [f"{test.p:.2g}" for _, test in tests],
        "p (Holm)": [f"{test.corrected:.2g}" for _, test in tests],
        f"at {LEVEL:.0%}": [test.verdict for _, test in tests],
    }
    notes = [
        "exact paired sign-flip tests, two-sided, p corrected after Holm within each row;"
        " bootstrap intervals of the mean difference"
    ]
    if any(test.verdict == "too few pairs" for _, test in tests):
        notes.append("too few pairs: no outcome of so few pairs could reach 5% after Holm")
    return Table.from_columns(title, columns, notes + _tie_notes(groups, mode))


def _tie_notes(groups: Mapping[str, Mapping[str, Values]], mode: str) -> list[str]:
    notes = []
    for row, values in groups.items():
        if len(values) > 1 and all(len(found) > 1 for found in values.values()):
            estimates = {method: Estimate.of(found.values()) for method, found in values.items()}
            best, *others = ties(estimates, mode)
            tied = f"; within one SEM of it, a tie: {', '.join(others)}" if others else ""
            notes.append(f"{row}: best mean {best}{tied}")
    return notes
