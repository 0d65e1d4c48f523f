"""Tables of one sweep's runs. Test data are shown here and choose nothing.

A run counts when it learned all its tasks, whatever status MLflow gives it: MLflow calls stopped
runs FINISHED too. The others are counted in a footnote.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import pandas as pd

from hcl.config import ConfigError
from sweeps.output.latex import as_latex
from sweeps.output.metric_names import SCENARIOS, UNITS, heading, labels, mode_of
from sweeps.output.table import Entry, Estimate, Table, best_of_rows, numbers_csv, ties
from sweeps.output.terminal import as_text
from sweeps.reports.pareto import pareto_table
from sweeps.reports.runs import (
    choose_runs,
    complete_runs,
    configuration_columns,
    configurations,
    estimate,
    left_out,
    method_label,
    one_run_per_seed,
    usage_notes,
)

FORMS: dict[str, Callable[[Sequence[Table]], str]] = {
    "markdown": lambda tables: "\n".join(table.markdown() for table in tables),
    "latex": lambda tables: "\n".join(map(as_latex, tables)),
    "csv": numbers_csv,
    "json": lambda tables: json.dumps([table.to_dict() for table in tables], indent=1),
    "terminal": lambda tables: "\n".join(map(as_text, tables)),
}


def written_tables(
    sweep: str,
    frame: pd.DataFrame,
    settings: dict[str, str],
    form: str = "markdown",
    more: Sequence[Table] = (),
) -> str:
    """Write the tables of one sweep, with the command that made it.

    Args:
        sweep: the sweep's name.
        frame: from `runs_frame` or `rows_frame`.
        settings: params and tags of the sweep's own run.
        form: a key of FORMS.
        more: further tables.

    Raises:
        ConfigError: there is no such form.
    """
    text = form_of(form)([*sweep_tables(frame, settings), *more])
    if form in ("csv", "json"):  # for programs: nothing but numbers
        return text
    comment = "% " if form == "latex" else ""
    origin = [f"Sweep {sweep}"]
    origin += [f"command: {settings['command']}"] if settings.get("command") else []
    origin += [f"commit: {settings['git_commit']}"] if settings.get("git_commit") else []
    return "".join(f"{comment}{line}\n" for line in origin) + "\n" + text


def form_of(form: str) -> Callable[[Sequence[Table]], str]:
    """Return what writes tables in a form of FORMS.

    Raises:
        ConfigError: there is no such form.
    """
    if form not in FORMS:
        raise ConfigError(f"--format {form!r}: use one of {', '.join(FORMS)}")
    return FORMS[form]


def sweep_tables(frame: pd.DataFrame, settings: dict[str, str]) -> list[Table]:
    """Make the tables of one sweep: its best configurations, and its methods.

    Args:
        frame: from `runs_frame` or `rows_frame`.
        settings: params and tags of the sweep's own run.
    """
    best = _best_tables(frame, settings)
    # Runs of the paper's protocol have no validation data, so none of them can be the best.
    is_regression = any(str(name).endswith("/average_mse") for name in frame)
    methods = method_table(frame, "average_mse" if is_regression else "average_accuracy")
    methods = replace(methods, notes=(*methods.notes, *usage_notes(complete_runs(frame))))
    return [*(table for table in best if table.rows), methods]


def _best_tables(frame: pd.DataFrame, settings: dict[str, str]) -> list[Table]:
    """Rank configurations; where nothing was searched, those of each benchmark by themselves."""
    objectives, modes = objectives_of(frame, settings)
    if len(objectives) > 1:
        return [pareto_table(frame, objectives, modes)]
    searched = _setting(settings, "objective")
    benchmarks = [] if searched else list(frame["benchmark/name"].unique())
    if len(benchmarks) < 2:
        return [best_configurations(frame, objectives[0], mode=modes[0])]
    tables = []
    for benchmark in sorted(benchmarks):
        runs = frame[frame["benchmark/name"] == benchmark]
        table = best_configurations(runs, _default_objective(runs.dropna(axis=1, how="all")))
        tables.append(replace(table, title=f"{table.title} on {benchmark}"))
    return tables


def objectives_of(frame: pd.DataFrame, settings: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the objectives of a sweep and the mode ("max" or "min") of each."""
    objective = _setting(settings, "objective") or _default_objective(frame)
    modes = (_setting(settings, "mode") or "max").split(",")
    return objective.split(","), modes


def best_runs(frame: pd.DataFrame, settings: dict[str, str]) -> pd.DataFrame:
    """Choose the runs of a search's best configuration, or of the only one that was trained.

    Returns:
        One run per seed; none where there are several objectives, or nothing chooses.
    """
    runs = complete_runs(frame)
    objective = _setting(settings, "objective") or ""
    groups = _ranked(runs, objective, _setting(settings, "mode") or "max")
    if not objective and runs["config"].nunique() == 1:
        groups = [one_run_per_seed(runs)]
    return groups[0] if groups else runs.iloc[:0]


def _ranked(runs: pd.DataFrame, objective: str, mode: str) -> list[pd.DataFrame]:
    """Group runs by configuration, best mean objective over seeds first."""
    groups = configurations(runs, [objective])
    groups.sort(key=lambda group: group[objective].mean(), reverse=mode == "max")
    return groups


def _setting(settings: dict[str, str], name: str) -> str | None:
    return settings.get(name) or settings.get(f"sweep/{name}")


def _default_objective(frame: pd.DataFrame) -> str:
    names = [f"val/{scenario}/average_accuracy" for scenario in SCENARIOS]
    return next((name for name in names if name in frame), names[0])


def best_configurations(
    frame: pd.DataFrame, objective: str, top: int = 5, mode: str = "max"
) -> Table:
    """Show the `top` configurations by their mean objective over seeds, and how they differ.

    Args:
        frame: from `runs_frame`.
        objective: the metric that ranks, on validation data.
        top: how many rows.
        mode: "max" or "min".
    """
    runs = complete_runs(frame)
    groups = _ranked(runs, objective, mode)
    best = groups[:top]
    columns = configuration_columns(runs, best, [objective])
    tied = ties(columns[heading(objective)], mode) - {0}
    ranks: list[Entry] = [f"{i + 1}{' (tie)' * (i in tied)}" for i in range(len(best))]
    note = [f"tie: within one SEM of rank 1 in {objective}"] if tied else []
    return Table.from_columns(
        f"Best {len(best)} of {len(groups)} configurations",
        {"rank": ranks, **columns},
        [UNITS, f"ranked by {objective}; test data do not rank", *note, *left_out(frame)],
    )


def method_table(frame: pd.DataFrame, metric: str = "average_accuracy") -> Table:
    """Compare methods on test data: a row per benchmark and scenario, a column per method.

    A run that was scored in several scenarios counts in each. Where a method has several
    configurations, an entry shows the one with the best validation value of those with the most
    seeds, never the one with the best test value. Runs of phase "confirm" replace those of the
    search.

    Args:
        frame: from `runs_frame`; may hold several sweeps.
        metric: last part of the metric's name, as in test/task/average_accuracy.
    """
    runs = complete_runs(frame)
    rows: dict[tuple[str, int, str], dict[str, Estimate | None]] = {}
    reasons: list[str] = []  # why each entry shows its configuration
    for scenario in SCENARIOS:
        name, selector = (f"{split}/{scenario}/{metric}" for split in ("test", "val"))
        if name not in runs:
            continue
        scored = runs.dropna(subset=[name])
        keys = [scored["benchmark/name"], scored["num_tasks"], scored["method/name"]]
        for key, group in scored.groupby(keys):
            benchmark, num_tasks, _ = cast(tuple[str, float, str], key)
            chosen, reason = choose_runs(group, selector)
            reasons.append(reason)
            row = rows.setdefault((benchmark, int(num_tasks), scenario), {})
            row[method_label(group, scenario)] = estimate(chosen, name)
    notes = [UNITS]
    if "validation" in reasons:
        notes.append("of several configurations the one that is best on validation data is shown")
    if blind := reasons.count("place"):
        notes.append(f"first configuration, because there are no validation data: {blind} entries")
    return _by_method(rows, heading(f"test {metric}"), (*notes, *left_out(frame)))


def _by_method(
    rows: dict[tuple[str, int, str], dict[str, Estimate | None]],
    title: str,
    notes: tuple[str, ...],
) -> Table:
    """Order methods as in `labels`, unknown ones last; benchmarks by name, then scenario."""
    present = {method for row in rows.values() for method in row}
    known = [method for method in labels() if method in present]
    methods = [*known, *sorted(present - set(known))]
    order = sorted(rows, key=lambda key: (*key[:2], SCENARIOS.index(key[2])))
    columns: dict[str, list[Entry]] = {
        "benchmark": [f"{benchmark} ({num_tasks} tasks)" for benchmark, num_tasks, _ in order],
        "scenario": [scenario for _, _, scenario in order],
    }
    columns |= {method: [rows[key].get(method) for key in order] for method in methods}
    table = Table.from_columns(title, columns, notes)
    return replace(table, bold=best_of_rows(table.rows, mode_of(title)))
