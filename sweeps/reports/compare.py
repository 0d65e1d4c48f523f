"""A user's own runs beside each other: ablation table, tests over seeds, curves over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from hcl.config import ConfigError
from hcl.metrics import running_average_accuracy
from sweeps.output import plots
from sweeps.output.metric_names import SCENARIOS, UNITS, heading, is_fraction, label
from sweeps.output.statistics import paired_table
from sweeps.output.table import Table
from sweeps.reports.runs import choose_runs, complete_runs, estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from sweeps.tracking import Store


@dataclass(frozen=True)
class Row:
    """What is compared like with like."""

    benchmark: str
    num_tasks: int
    scenario: str

    def __str__(self) -> str:
        return f"{self.benchmark}, {self.num_tasks} tasks, {self.scenario}"

    def place(self) -> tuple[str, int, int]:
        """Order in a table: scenarios from CL1 to CL3."""
        return self.benchmark, self.num_tasks, SCENARIOS.index(self.scenario)

    def metric(self, split: str, last: str) -> str:
        """Name of a metric in this scenario."""
        return f"{split}/{self.scenario}/{last}"


# Row -> label of an entry (a method, of a sweep) -> the runs of its configuration.
Entries = dict[Row, dict[str, "pd.DataFrame"]]


def find_entries(
    store: Store, sweeps: Sequence[str], methods: Sequence[str], last: str = "average_accuracy"
) -> Entries:
    """For each benchmark and scenario every method of every sweep, at one configuration each.

    Of several configurations it is the best on validation data of those with the most seeds;
    test data chooses nothing.

    Args:
        store: where the runs are.
        sweeps: names; none = all in the store.
        methods: registry keys to keep; none = all.
        last: last part of the metric's name.

    Raises:
        ConfigError: a sweep or a method has no finished run, or the store is not reachable.
    """
    from sweeps.tracking import runs_frame

    frame = runs_frame(store)
    known = sorted(set(frame["tags.sweep"])) if "tags.sweep" in frame else []
    for name in sweeps:
        if name not in known:
            raise ConfigError(
                f"no runs of a sweep {name!r} in {store.shown_uri}; there: {', '.join(known)}"
            )
    runs = complete_runs(frame)
    runs = runs[runs["tags.sweep"].isin(sweeps)] if sweeps else runs
    for method in methods:
        if method not in set(runs["method/name"]):
            there = ", ".join(sorted(set(runs["method/name"]))) or "none"
            raise ConfigError(f"--methods {method}: no finished run of it; there: {there}")
    runs = runs[runs["method/name"].isin(methods)] if methods else runs
    entries: Entries = {}
    for scenario in SCENARIOS:
        _add_scenario(entries, runs, scenario, last)
    if not entries:
        raise ConfigError(f"no run has learned all its tasks yet in {store.shown_uri}")
    return {row: entries[row] for row in sorted(entries, key=Row.place)}


def _add_scenario(entries: Entries, runs: pd.DataFrame, scenario: str, last: str) -> None:
    name = f"test/{scenario}/{last}"
    if name not in runs:
        return
    scored = runs.dropna(subset=[name])
    keys = [scored[k] for k in ("benchmark/name", "num_tasks", "method/name", "tags.sweep")]
    sweeps = {m: set(g["tags.sweep"]) for m, g in scored.groupby("method/name")}
    for key, group in scored.groupby(keys):
        benchmark, num_tasks, method, sweep = cast(tuple[str, float, str, str], key)
        column = label(method, scenario)
        if len(sweeps[method]) > 1:
            column = f"{column} ({sweep})"
        chosen, _ = choose_runs(group, f"val/{scenario}/{last}")
        entries.setdefault(Row(benchmark, int(num_tasks), scenario), {})[column] = chosen


def ablation_table(entries: Entries, last: str = "average_accuracy") -> Table:
    """A row for each benchmark and scenario, a column for each method."""
    labels = list(dict.fromkeys(label for found in entries.values() for label in found))
    rows = []
    for row, found in entries.items():
        name = row.metric("test", last)
        cells = [estimate(found[label], name) if label in found else None
                 for label in labels]  # fmt: skip
        rows.append((str(row), *cells))
    notes = (
        UNITS,
        "of several configurations the best on validation data, of those with the most seeds",
    )
    return Table(heading(f"test {last}"), ("", *labels), tuple(rows), notes)


def pairs_table(entries: Entries, last: str = "average_accuracy") -> Table:
    """Every pair of methods of a row, over the seeds that both have."""
    groups: dict[str, dict[str, dict[int, float]]] = {}
    for row, found in entries.items():
        name = row.metric("test", last)
        scale = 100 if is_fraction(name) else 1
        groups[str(row)] = {
            label: {int(s): scale * float(v) for s, v in zip(g["seed"], g[name], strict=True)}
            for label, g in found.items()
        }
    return paired_table("Methods against each other", groups)


def curves(entries: Entries, store: Store) -> dict[str, Figure]:
    """Average accuracy after each task, a figure for each row."""
    from sweeps.tracking import accuracy_matrices

    drawn = {}
    for row, found in entries.items():
        name = f"test/{row.scenario}"
        lines = {
            label: [
                running_average_accuracy(accuracy_matrices(store, run)[name])
                for run in group["run_id"]
            ]
            for label, group in found.items()
        }
        figure = plots.average_accuracy_curves(lines)
        figure.suptitle(str(row), fontsize=10)
        drawn[f"{row.benchmark}-{row.num_tasks}-{row.scenario}"] = figure
    return drawn
