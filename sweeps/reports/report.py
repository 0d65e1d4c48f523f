"""Runs of a sweep -> tables. Test data is shown here and chooses nothing.

A run counts when it learned all its tasks, whatever status MLflow gives it: MLflow calls stopped
runs FINISHED too. The others are counted in a footnote.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from hcl.config import ConfigError
from sweeps.output.metric_names import (
    SCENARIOS,
    UNITS,
    heading,
    label,
    labels,
    spell,
)
from sweeps.output.table import Cell, Estimate, Table, numbers_csv
from sweeps.reports.runs import (
    choose_runs,
    complete_runs,
    estimate,
    left_out,
    one_run_per_seed,
    tested_metrics,
    trials_of,
    varied_params,
)

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.tracking import Store

FORMS: dict[str, Callable[[Table], str]] = {
    "markdown": Table.markdown,
    "latex": Table.latex,
    "csv": Table.csv,
    "terminal": Table.terminal,
}


def report(sweep: str, store: Store, form: str = "markdown") -> str:
    """The tables of one sweep, with the command that made them.

    Args:
        sweep: the sweep's name.
        store: where its runs are.
        form: a key of FORMS.

    Raises:
        ConfigError: There is no such sweep or form; one sentence.
    """
    from sweeps.reports.pareto import pareto_table
    from sweeps.tracking import runs_frame, sweep_settings

    if form not in FORMS:
        raise ConfigError(f"--format {form!r}: use one of {', '.join(FORMS)}")
    frame = runs_frame(store, sweep)
    if frame.empty:
        known = sorted(set(runs_frame(store).get("tags.sweep", [])))
        there = f"sweeps there: {', '.join(known)}" if known else "no sweep is there"
        raise ConfigError(f"no runs of a sweep {sweep!r} in {store.shown_uri}; {there}")
    settings = sweep_settings(store, sweep)
    objective = _setting(settings, "objective") or _default_objective(frame)
    mode = _setting(settings, "mode") or "max"
    if "," in objective:
        best = pareto_table(frame, objective.split(","), mode.split(","))
    else:
        best = best_configurations(frame, objective, mode=mode)
    # Runs of the paper's protocol have no validation data, so none of them is the best.
    tables = [best, method_table(frame)] if best.rows else [method_table(frame)]
    text = "\n".join(FORMS[form](table) for table in tables)
    if form == "csv":
        return numbers_csv(tables)
    comment = "% " if form == "latex" else ""
    origin = [f"Sweep {sweep}"]
    origin += [f"command: {settings['command']}"] if settings.get("command") else []
    origin += [f"commit: {settings['git_commit']}"] if settings.get("git_commit") else []
    return "".join(f"{comment}{line}\n" for line in origin) + "\n" + text


def best_configurations(
    frame: pd.DataFrame, objective: str, top: int = 5, mode: str = "max"
) -> Table:
    """The `top` configurations by their mean objective over seeds, with what sets them apart.

    Args:
        frame: from `runs_frame`.
        objective: the metric that ranks, on validation data.
        top: how many rows.
        mode: "max" or "min".
    """
    runs = complete_runs(frame)
    ranked = []
    if objective in runs:
        scored = one_run_per_seed(runs.dropna(subset=[objective]))
        for _, group in scored.groupby("config", sort=False):
            ranked.append((group[objective].mean(), group))
    ranked.sort(key=lambda pair: pair[0], reverse=mode == "max")
    varied, tested = varied_params(runs), tested_metrics(runs)
    rows = []
    for rank, (_, group) in enumerate(ranked[:top], start=1):
        row: list[Cell] = [str(rank), trials_of(group)]
        row.append(spell(group[varied].iloc[0]))
        row += [estimate(group, name) for name in (objective, *tested)]
        rows.append(tuple(row))
    columns = (
        "rank",
        "trial",
        "configuration",
        *(heading(name) for name in (objective, *tested)),
    )
    notes = (UNITS, f"ranked by {objective}; test data ranks nothing", *left_out(frame))
    return Table(f"Best of {len(ranked)} configurations", columns, tuple(rows), notes)


def method_table(frame: pd.DataFrame, metric: str = "average_accuracy") -> Table:
    """Benchmark and scenario by method, on test data.

    A run scored in several scenarios counts in each. Of several configurations a cell shows one:
    of those with the most seeds the one with the best validation value, never the best test
    value. Runs of phase "confirm" replace those of the search.

    Args:
        frame: from `runs_frame`; may hold several sweeps.
        metric: last part of the metric's name, as in test/task/average_accuracy.
    """
    runs = complete_runs(frame)
    rows: dict[tuple[str, int, str], dict[str, Estimate | None]] = {}
    how: list[str] = []  # each cell's configuration was chosen
    for scenario in SCENARIOS:
        name, selector = (f"{split}/{scenario}/{metric}" for split in ("test", "val"))
        if name not in runs:
            continue
        scored = runs.dropna(subset=[name])
        keys = [scored["benchmark/name"], scored["num_tasks"], scored["method/name"]]
        for key, group in scored.groupby(keys):
            benchmark, num_tasks, method = cast(tuple[str, float, str], key)
            chosen, by = choose_runs(group, selector)
            how.append(by)
            row = rows.setdefault((benchmark, int(num_tasks), scenario), {})
            row[label(method, scenario)] = estimate(chosen, name)
    notes = [UNITS]
    if "validation" in how:
        notes.append(
            "of several configurations a cell shows the best on its scenario's validation data"
        )
    if blind := how.count("place"):
        notes.append(f"{blind} of the cells had no validation data: first configuration")
    return _layout(rows, heading(f"test {metric}"), (*notes, *left_out(frame)))


def _layout(
    rows: dict[tuple[str, int, str], dict[str, Estimate | None]],
    title: str,
    notes: tuple[str, ...],
) -> Table:
    """Lay out methods in the order of `labels`, unknown ones last; benchmarks by name."""
    present = {method for row in rows.values() for method in row}
    known = [method for method in labels() if method in present]
    methods = [*known, *sorted(present - set(known))]
    order = sorted(rows, key=lambda key: (*key[:2], SCENARIOS.index(key[2])))
    body = tuple(
        (f"{key[0]} ({key[1]} tasks)", key[2], *(rows[key].get(method) for method in methods))
        for key in order
    )
    return Table(title, ("benchmark", "scenario", *methods), body, notes)


def _setting(settings: dict[str, str], name: str) -> str | None:
    return settings.get(name) or settings.get(f"sweep/{name}")


def _default_objective(frame: pd.DataFrame) -> str:
    names = [f"val/{scenario}/average_accuracy" for scenario in SCENARIOS]
    return next((name for name in names if name in frame), names[0])
