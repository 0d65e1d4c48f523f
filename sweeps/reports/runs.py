"""Runs of a sweep: those that count, their configurations, and what they measured."""

from collections.abc import Sequence

import pandas as pd

from sweeps.output.metric_names import (
    SCENARIOS,
    heading,
    label,
    mode_of,
    scale_of,
    short_headings,
    short_value,
)
from sweeps.output.table import Entry, Estimate

_PARAM_GROUPS = ("benchmark/", "target/", "method/", "train/")


def complete_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the runs that learned all their tasks, whatever their status.

    A column `config` is added: the tag config_id or, in runs without it, all params but the seed.
    """
    runs = frame[_is_complete(frame)].copy()
    params = sorted(_params(runs))
    written = [" ".join(map(str, row)) for row in runs[params].itertuples(index=False)]
    runs["config"] = pd.Series(written, index=runs.index, dtype=object)
    if "tags.config_id" in runs:
        runs["config"] = runs["tags.config_id"].fillna(runs["config"])
    return runs


def one_run_per_seed(runs: pd.DataFrame) -> pd.DataFrame:
    """Keep the last run of each seed, and only runs of phase "confirm" where there are any."""
    if "tags.phase" in runs and (runs["tags.phase"] == "confirm").any():
        runs = runs[runs["tags.phase"] == "confirm"]
    return runs.drop_duplicates(["config", "seed"], keep="last")


def configurations(runs: pd.DataFrame, objectives: Sequence[str]) -> list[pd.DataFrame]:
    """Group the runs that have every objective by configuration, one run per seed."""
    if not set(objectives) <= set(runs):
        return []
    scored = one_run_per_seed(runs.dropna(subset=list(objectives)))
    return [group for _, group in scored.groupby("config", sort=False)]


def configuration_columns(
    runs: pd.DataFrame, groups: Sequence[pd.DataFrame], objectives: Sequence[str]
) -> dict[str, list[Entry]]:
    """Make the columns that every table of configurations has; add a column here.

    Args:
        runs: all complete runs, which decide what is worth a column.
        groups: the runs of each configuration, in the order of the table's rows.
        objectives: metrics that ranked the configurations.

    Returns:
        Heading -> one entry per configuration.
    """
    columns: dict[str, list[Entry]] = {"trial": [_trials(group) for group in groups]}
    for name in (*objectives, *_tested_metrics(runs)):
        columns[heading(name)] = [estimate(group, name) for group in groups]
    for name, short in short_headings(varied_params(runs)).items():
        values = [group[name].iloc[0] for group in groups]
        said = ["" if pd.isna(value) else short_value(value) for value in values]
        if any(said):  # else a setting of methods that none of these is
            columns[short] = list(said)
    return columns


def choose_runs(runs: pd.DataFrame, selector: str) -> tuple[pd.DataFrame, str]:
    """Choose one configuration: the best by `selector` among those with the most seeds.

    Args:
        runs: complete runs of any number of configurations.
        selector: a metric on validation data.

    Returns:
        The chosen runs, and why these: "alone" where nothing had to be chosen, "validation", or
        "place" (the first configuration) where no run has the metric.
    """
    runs = one_run_per_seed(runs)
    counts = runs.groupby("config", sort=False).size()
    runs = runs[runs["config"].isin(counts[counts == counts.max()].index)]
    configs = list(dict.fromkeys(runs["config"]))
    if len(configs) == 1:
        return runs, "alone"
    if selector not in runs or runs[selector].isna().all():
        return runs[runs["config"] == configs[0]], "place"
    means = runs.groupby("config")[selector].mean()
    best = means.idxmin() if mode_of(selector) == "min" else means.idxmax()
    return runs[runs["config"] == best], "validation"


def method_label(group: pd.DataFrame, scenario: str) -> str:
    """Name the method of a group of runs as tables do: a user's own as its runs recorded it."""
    recorded = group.get(f"tags.label_{scenario}", pd.Series(dtype=object)).dropna()
    return (
        str(recorded.iloc[-1]) if len(recorded) else label(group["method/name"].iloc[0], scenario)
    )


def estimate(group: pd.DataFrame, name: str) -> Estimate | None:
    """Estimate a metric over the runs of a group, accuracies in percent."""
    values = group[name].dropna()
    return Estimate.of(scale_of(name) * values) if len(values) else None


def left_out(frame: pd.DataFrame) -> list[str]:
    """Note how many runs do not count because they did not learn all tasks, and why."""
    incomplete, notes = frame[~_is_complete(frame)], []
    if "tags.stopped_early" in incomplete:
        is_stopped = incomplete["tags.stopped_early"].notna()
        if is_stopped.any():
            notes.append(f"left out because the sweep stopped them early: {is_stopped.sum()} runs")
        incomplete = incomplete[~is_stopped]
    if incomplete.empty:
        return notes
    counts = incomplete["status"].value_counts()
    states = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return [*notes, f"left out because they did not learn all tasks: {states}"]


def usage_notes(runs: pd.DataFrame) -> list[str]:
    """Say in one note what the processes of the runs used; none where no run recorded it."""
    parts = []
    for name, words, most in (
        ("peak_memory_gb", "{:.2f} GB of memory at most", True),
        ("cpu_cores", "{:.1f} cores", False),
        ("peak_gpu_memory_gb", "{:.2f} GB of a GPU at most", True),
        ("gpu_percent", "a GPU {:.0f} % busy", False),
    ):
        values = runs.get(f"usage/{name}", pd.Series(dtype=float)).dropna()
        if len(values):
            parts.append(words.format(values.max() if most else values.mean()))
    return [f"used by the process of a run: {', '.join(parts)}"] if parts else []


def _trials(group: pd.DataFrame) -> str:
    """Numbers of the trials that some runs belong to."""
    trials = sorted(set(group["tags.trial"])) if "tags.trial" in group else []
    return ", ".join(map(short_value, trials))


def varied_params(runs: pd.DataFrame) -> list[str]:
    """Params that differ between configurations."""
    return [name for name in _params(runs) if runs[name].nunique() > 1]


def _tested_metrics(runs: pd.DataFrame) -> list[str]:
    """Average accuracies on test data that were measured."""
    names = [f"test/{scenario}/average_accuracy" for scenario in SCENARIOS]
    return [name for name in names if name in runs and runs[name].notna().any()]


def _is_complete(frame: pd.DataFrame) -> pd.Series:
    return (frame["tasks_learned"] == frame["num_tasks"]) & (frame["num_tasks"] > 0)


def _params(runs: pd.DataFrame) -> list[str]:
    """Columns that can set configurations apart: every param but the seed."""
    names = [str(name) for name in runs.columns]
    alone = ("scenario", "eval_scenarios", "code")
    return [name for name in names if name.startswith(_PARAM_GROUPS) or name in alone]
