"""The verdict of a study: tables of what was confirmed, tested, spent and chosen."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from hcl.config import ConfigError
from sweeps.comparison.references import metrics_tables
from sweeps.comparison.run import Outcome, StudyRequest
from sweeps.comparison.study_file import StudySpec
from sweeps.output.metric_names import describe_interval, short_value
from sweeps.output.statistics.paired import (
    CONFIDENCE,
    PairedTest,
    bootstrap_interval,
    describe_power,
    paired_table,
    paired_tests,
    ties,
)
from sweeps.output.table import Entry, Estimate, Table

UNEQUAL = 1.1  # core-hours that differ by more than this factor are called unequal
Values = Mapping[int, float]


def verdict_tables(request: StudyRequest, outcomes: Sequence[Outcome]) -> list[Table]:
    """Make every table of a study, the verdict first.

    Raises:
        ConfigError: methods were confirmed on different data.
    """
    spec = request.spec
    check_same_data(outcomes)
    groups = {row: complete_values(spec, found) for row, found in by_row(outcomes).items()}
    tables = [
        _verdict(spec, outcomes, groups),
        paired_table(f"{spec.name}: methods against each other", groups, reference=spec.reference),
        *metrics_tables(spec.name, outcomes),
        _effort(spec, outcomes),
        _configurations(spec, outcomes),
    ]
    return [table for table in tables if table.rows]


def by_row(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Group outcomes by benchmark and scenario."""
    return {row: list(found) for row, found in groupby(outcomes, lambda one: one.part.row)}


def check_same_data(outcomes: Sequence[Outcome]) -> None:
    """Refuse to compare methods that saw different data on the same pair.

    Raises:
        ConfigError: names the pair and the digests.
    """
    for row, found in by_row(outcomes).items():
        digests: dict[int, dict[str, str]] = {}
        for one in found:
            for seed, result in one.results.items():
                digests.setdefault(seed, {})[one.part.method] = result.data_digest
        for seed, known in digests.items():
            if len(set(known.values())) > 1:
                said = ", ".join(f"{method} {digest}" for method, digest in known.items())
                raise ConfigError(
                    f"{row}, seed {seed}: methods saw different data: {said}; restore the data, or"
                    " use another --name"
                )


def complete_values(spec: StudySpec, outcomes: Sequence[Outcome]) -> dict[str, Values]:
    """Return the values of the methods that have every pair; others are not tested."""
    pairs = len(spec.confirmation.seeds)
    return {one.part.method: one.values() for one in outcomes if len(one.results) == pairs}


def answer(spec: StudySpec, groups: Mapping[str, Mapping[str, Values]]) -> str:
    """Word the verdict in a sentence for each benchmark and scenario."""
    return ". ".join(f"{row}: {_answer_row(spec, values)}" for row, values in groups.items())


def _answer_row(spec: StudySpec, values: Mapping[str, Values]) -> str:
    """Say which methods the best one, or the reference, is shown to differ from."""
    if len(values) < 2:
        return "fewer than two methods have every pair"
    best = _ranked(values)[0]
    one = spec.reference if spec.reference in values else best
    found: dict[str, list[str]] = {
        "better than": [],
        "worse than": [],
        "no difference shown to": [],
    }
    for test in paired_tests(values, spec.reference):
        if one in (test.first, test.second):
            is_better = (test.mean > 0) == (test.first == one)
            shown = "better than" if is_better else "worse than"
            words = shown if test.verdict == "differ" else "no difference shown to"
            found[words].append(test.second if test.first == one else test.first)
    parts = [f"{words} {', '.join(others)}" for words, others in found.items() if others]
    rank = "has the highest mean" if one == best else f"is below {best} in the mean"
    return "; ".join([f"{one} {rank}", *parts])


def _ranked(values: Mapping[str, Values]) -> list[str]:
    means = {name: Estimate.of(found.values()).mean for name, found in values.items()}
    return sorted(means, key=lambda name: -means[name])


def _verdict(
    spec: StudySpec, outcomes: Sequence[Outcome], groups: Mapping[str, Mapping[str, Values]]
) -> Table:
    """Rank the methods of each row, with their distance from the best or from the reference."""
    rows: list[tuple[Entry, ...]] = []
    for row, found in by_row(outcomes).items():
        values = groups[row]
        order = {name: rank for rank, name in enumerate(_ranked(values), start=1)}
        tests = paired_tests(values, spec.reference)
        found.sort(key=lambda one: order.get(one.part.method, len(order) + 1))
        rows += [_line(spec, one, values, order, tests) for one in found]
    to = spec.reference or "the best"
    columns = ("row", "rank", "method", "test average accuracy (%)", "search value (%)",
               f"minus {to} [{CONFIDENCE:.0%}]", "verdict")  # fmt: skip
    return Table(f"Verdict of {spec.name}", columns, tuple(rows), tuple(_notes(spec, outcomes)))


def _line(
    spec: StudySpec,
    one: Outcome,
    values: Mapping[str, Values],
    order: Mapping[str, int],
    tests: Sequence[PairedTest],
) -> tuple[Entry, ...]:
    name, mine = one.part.method, one.values()
    tested = Estimate.of(mine.values()) if mine else None
    searched = Estimate(100 * one.chosen.values[0], None, len(one.part.space.sweep.seeds))
    if name not in values:
        missing = f"{len(mine)} of {len(spec.confirmation.seeds)} pairs: not tested"
        return one.part.row, "", name, tested, searched, "", missing
    best = min(order, key=lambda other: order[other])
    beside = spec.reference if spec.reference in values else best
    gaps = [mine[seed] - values[beside][seed] for seed in mine]
    gap = "" if name == beside else _describe(gaps)
    verdict = _judge(name, beside, best, values, tests)
    return one.part.row, str(order[name]), name, tested, searched, gap, verdict


def _judge(
    name: str,
    beside: str,
    best: str,
    values: Mapping[str, Values],
    tests: Sequence[PairedTest],
) -> str:
    tied = ties({key: Estimate.of(found.values()) for key, found in values.items()})
    words = ["best"] if name == best else ["tie with the best"] if name in tied else []
    words += [
        f"{test.verdict}, p {test.corrected:.2g}"
        for test in tests
        if {test.first, test.second} == {name, beside} and name != beside
    ]
    return "; ".join(words)


def _describe(gaps: Sequence[float]) -> str:
    interval = describe_interval(bootstrap_interval(gaps))
    return f"{sum(gaps) / len(gaps):+.2f} {interval}".rstrip()


def _notes(spec: StudySpec, outcomes: Sequence[Outcome]) -> list[str]:
    seeds = spec.confirmation.seeds
    orders = {
        "shuffled": "each with an order of tasks of its own, the same for all methods",
        "fixed": "all with the same order of tasks",
    }[spec.confirmation.orders]
    notes = [
        f"protocol: {spec.protocol}; effort: {spec.effort} for every search",
        f"confirmed on the seeds {seeds[0]} to {seeds[-1]}, {orders}; mean ± SEM (pairs)",
        "the search value is the validation accuracy that chose the configuration",
        "tie: within one SEM of the best mean; p: exact paired sign-flip test, after Holm",
        describe_power(len(seeds), spec.num_tests),
    ]
    if any(len(one.results) < len(seeds) for one in outcomes):
        notes.append("methods without a result on every pair are not tested; see their journals")
    return notes


def _effort(spec: StudySpec, outcomes: Sequence[Outcome]) -> Table:
    """Show what each search and each confirmation spent."""
    columns: dict[str, list[Entry]] = {
        "row": [one.part.row for one in outcomes],
        "method": [one.part.method for one in outcomes],
        "settings searched": [str(one.spent.settings) for one in outcomes],
        "trials": [str(one.spent.trials) for one in outcomes],
        "failed": [str(one.spent.failed) for one in outcomes],
        "stopped early": [str(one.spent.stopped) for one in outcomes],
        "core-hours, search": [f"{one.spent.hours:.3g}" for one in outcomes],
        "core-hours, confirmation": [f"{one.hours:.3g}" for one in outcomes],
    }
    notes = [f"protocol: {spec.protocol}; effort: {spec.effort} for every search"]
    for row, found in by_row(outcomes).items():
        spent = [one.spent for one in found]
        if spec.effort.trials and len({one.trials for one in spent}) > 1:
            notes.append(f"{row}: effort is unequal: numbers of trials differ")
        hours = [max(one.hours, 1e-9) for one in spent]
        if spec.effort.core_hours and max(hours) > UNEQUAL * min(hours):
            notes.append(f"{row}: effort is unequal: core-hours differ by more than 10%")
    return Table.from_columns(f"{spec.name}: effort", columns, notes)


def _configurations(spec: StudySpec, outcomes: Sequence[Outcome]) -> Table:
    """Show the configuration that each search chose."""
    columns: dict[str, list[Entry]] = {
        "row": [one.part.row for one in outcomes],
        "method": [one.part.method for one in outcomes],
        "sweep": [one.part.space.name for one in outcomes],
        "trial": [str(one.chosen.number) for one in outcomes],
        "configuration": [
            " ".join(f"{key}={short_value(value)}" for key, value in one.chosen.params.items())
            for one in outcomes
        ],
    }
    note = "hcl best SWEEP --out trial.yaml writes one as a file for hcl run"
    return Table.from_columns(f"{spec.name}: chosen configurations", columns, [note])
