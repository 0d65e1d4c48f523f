"""A user's own runs beside each other: ablation table, tests over seeds, curves over tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import pandas as pd

from hcl.config import BenchmarkConfig, ConfigError
from sweeps.output.metric_names import SCENARIOS, UNITS, heading, mode_of, scale_of
from sweeps.output.statistics.paired import check_same_pairs, paired_table
from sweeps.output.table import Entry, Table, best_of_rows
from sweeps.records.entries import text
from sweeps.reports.runs import choose_runs, complete_runs, estimate, method_label

# Settings that decide which tasks a seed has; runs of other tasks stand in another row.
ORDER = ("class_order", "order_seed", "first_task_permuted")

FULL = "full"  # protocol of runs that name none


@dataclass(frozen=True)
class Row:
    """A sequence of tasks and a scenario; methods are only compared within one.

    Attributes:
        benchmark, num_tasks, scenario: the settings' values.
        order: the settings of `ORDER` that are not at their defaults, in words.
    """

    benchmark: str
    num_tasks: int
    scenario: str
    order: str = ""

    def __str__(self) -> str:
        order = f", {self.order}" if self.order else ""
        return f"{self.benchmark}, {self.num_tasks} tasks, {self.scenario}{order}"

    def position(self) -> tuple[str, int, str, int]:
        """Return what tables sort rows by: scenarios go from CL1 to CL3."""
        return self.benchmark, self.num_tasks, self.order, SCENARIOS.index(self.scenario)

    def metric_name(self, split: str, metric: str) -> str:
        """Return the full name of a metric in this scenario, as in test/task/average_accuracy."""
        return f"{split}/{self.scenario}/{metric}"


# Row -> label of a method (of a sweep, where several have it) -> the runs of one configuration.
Compared = dict[Row, dict[str, pd.DataFrame]]


def runs_to_compare(
    frame: pd.DataFrame,
    where: str,
    sweeps: Sequence[str],
    methods: Sequence[str],
    metric: str = "average_accuracy",
) -> Compared:
    """Choose one configuration of every method of every sweep, for each benchmark and scenario.

    It is the best on validation data of those with the most seeds; test data choose nothing.

    Args:
        frame: from `runs_frame` or `rows_frame`.
        where: the place that they were read from, for messages.
        sweeps: names; none = all in the frame.
        methods: registry keys to keep; none = all.
        metric: last part of the metric's name.

    Raises:
        ConfigError: a sweep or a method has no finished run.
    """
    known = sorted(set(frame["tags.sweep"])) if "tags.sweep" in frame else []
    for name in sweeps:
        if name not in known:
            raise ConfigError(f"no runs of a sweep {name!r} in {where}; there: {', '.join(known)}")
    runs = complete_runs(frame)
    runs = runs[runs["tags.sweep"].isin(sweeps)] if sweeps else runs
    for method in methods:
        if method not in set(runs["method/name"]):
            there = ", ".join(sorted(set(runs["method/name"]))) or "none"
            raise ConfigError(f"--methods {method}: it has no finished run; there: {there}")
    runs = runs[runs["method/name"].isin(methods)] if methods else runs
    compared: Compared = {}
    for scenario in SCENARIOS:
        _add_scenario(compared, runs, scenario, metric)
    if not compared:
        raise ConfigError(f"no finished run in {where} has a test {metric}")
    return {row: compared[row] for row in sorted(compared, key=Row.position)}


def _add_scenario(compared: Compared, runs: pd.DataFrame, scenario: str, metric: str) -> None:
    name = f"test/{scenario}/{metric}"
    if name not in runs:
        return
    scored = runs.dropna(subset=[name])
    names = ("benchmark/name", "num_tasks", "method/name", "tags.sweep")
    keys = [*(scored[k] for k in names), _orders(scored)]
    sweeps = {m: set(g["tags.sweep"]) for m, g in scored.groupby("method/name")}
    for key, group in scored.groupby(keys):
        benchmark, num_tasks, method, sweep, order = cast(tuple[str, float, str, str, str], key)
        column = method_label(group, scenario)
        if len(sweeps[method]) > 1:
            column = f"{column} ({sweep})"
        chosen, _ = choose_runs(group, f"val/{scenario}/{metric}")
        row = Row(benchmark, int(num_tasks), scenario, order)
        compared.setdefault(row, {})[column] = chosen


def _orders(runs: pd.DataFrame) -> pd.Series:
    """Describe each run's order of tasks; empty where it is the data's own."""
    said = pd.Series("", index=runs.index)
    for name in ORDER:
        default = text(getattr(BenchmarkConfig, name))
        values = runs.get(f"benchmark/{name}", pd.Series(default, index=runs.index))
        values = values.fillna(default).astype(str).str.removesuffix(".0")
        said = said.where(values == default, said + f"{name} " + values + " ")
    return said.str.rstrip()


def comparison_tables(
    compared: Compared, metric: str = "average_accuracy", mixed: bool = False
) -> list[Table]:
    """Make the ablation table and the tests of its methods in pairs.

    Args:
        compared: from `runs_to_compare`.
        metric: last part of the metric's name.
        mixed: show methods that cannot be compared too, say why, and test none of their rows.

    Raises:
        ConfigError: methods of a row differ in protocol, seeds or data, and `mixed` is False.
    """
    problems = {row: found for row in compared if (found := _problems(row, compared[row]))}
    if problems and not mixed:
        said = [problem for found in problems.values() for problem in found]
        raise ConfigError([*said, "--mixed shows them side by side, without tests, and says so"])
    sound = {row: methods for row, methods in compared.items() if row not in problems}
    notes = [f"not comparable: {problem}" for found in problems.values() for problem in found]
    tables = [ablation_table(compared, metric, notes), pairs_table(sound, metric)]
    return [table for table in tables if table.rows]


def _problems(row: Row, methods: dict[str, pd.DataFrame]) -> list[str]:
    """Say in sentences what makes the methods of a row unfit to be compared."""
    problems = []
    for column, missing, what in (
        ("tags.protocol", FULL, "protocols"),
        ("data_digest", "", "data"),
    ):
        found = {label: _known(runs, column, missing) for label, runs in methods.items()}
        known = {label: value for label, value in found.items() if value}
        if len(set(known.values())) > 1:
            said = ", ".join(f"{label} {value}" for label, value in known.items())
            problems.append(f"{row}: different {what}: {said}")
    pairs = {label: dict.fromkeys(_pairs(runs), 0.0) for label, runs in methods.items()}
    try:
        check_same_pairs(pairs, str(row))
    except ConfigError as error:
        problems += error.errors
    return problems


def _pairs(runs: pd.DataFrame) -> list[str]:
    return [f"seed {int(seed)}" for seed in runs["seed"]]


def ablation_table(
    compared: Compared, metric: str = "average_accuracy", notes: Sequence[str] = ()
) -> Table:
    """Show a row for each benchmark and scenario, a column for each method."""
    columns: dict[str, list[Entry]] = {"": [str(row) for row in compared]}
    for column in dict.fromkeys(name for methods in compared.values() for name in methods):
        columns[column] = [
            estimate(methods[column], row.metric_name("test", metric))
            if column in methods
            else None
            for row, methods in compared.items()
        ]
    table = Table.from_columns(
        heading(f"test {metric}"),
        columns,
        [
            UNITS,
            "of several configurations, those with the most seeds and of them the one that is best"
            " on validation data is shown",
            *_protocols(compared),
            *notes,
        ],
    )
    return replace(table, bold=best_of_rows(table.rows, mode_of(metric)))


def _protocols(compared: Compared) -> list[str]:
    """Note the protocol of all rows, or of each."""
    found = {
        row: ", ".join(dict.fromkeys(_known(m, "tags.protocol", FULL) for m in methods.values()))
        for row, methods in compared.items()
    }
    if len(set(found.values())) == 1:
        return [f"protocol: {next(iter(found.values()))}"]
    return [f"protocol of {row}: {protocol}" for row, protocol in found.items()]


def _known(runs: pd.DataFrame, column: str, missing: str = "") -> str:
    """Return what the runs of a configuration have in a column."""
    values = runs.reindex(columns=[column])[column].fillna(missing)
    return ", ".join(dict.fromkeys(map(str, values)))


def pairs_table(compared: Compared, metric: str = "average_accuracy") -> Table:
    """Test every pair of methods of a row over its seeds.

    Raises:
        ConfigError: methods of a row have different seeds.
    """
    groups: dict[str, dict[str, dict[str, float]]] = {}
    for row, methods in compared.items():
        name = row.metric_name("test", metric)
        groups[str(row)] = {
            label: dict(zip(_pairs(g), (scale_of(name) * g[name]).astype(float), strict=True))
            for label, g in methods.items()
        }
    return paired_table("Methods against each other", groups, mode_of(metric))
