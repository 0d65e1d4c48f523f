"""Which runs of a sweep count, and what they measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeps.output.metric_names import SCENARIOS, _value, is_fraction
from sweeps.output.table import Estimate

if TYPE_CHECKING:
    import pandas as pd


_PARAM_GROUPS = ("benchmark/", "target/", "method/", "train/")


def complete_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """Runs that learned all their tasks, whatever their status.

    A column `config` is added: the tag config_id, or what it stands for, all params but the seed.
    """
    import pandas as pd

    runs = frame[_is_complete(frame)].copy()
    params = sorted(_params(runs))
    spelled = [" ".join(map(str, row)) for row in runs[params].itertuples(index=False)]
    runs["config"] = pd.Series(spelled, index=runs.index, dtype=object)
    if "tags.config_id" in runs:
        runs["config"] = runs["tags.config_id"].fillna(runs["config"])
    return runs


def choose_runs(group: pd.DataFrame, selector: str) -> tuple[pd.DataFrame, str]:
    """The runs of one configuration; it is "alone", or chosen by "validation" or its "place"."""
    group = one_run_per_seed(group)
    counts = group.groupby("config", sort=False).size()
    group = group[group["config"].isin(counts[counts == counts.max()].index)]
    configs = list(dict.fromkeys(group["config"]))
    if len(configs) == 1:
        return group, "alone"
    if selector not in group or group[selector].isna().all():
        return group[group["config"] == configs[0]], "place"
    best = group.groupby("config")[selector].mean().idxmax()
    return group[group["config"] == best], "validation"


def one_run_per_seed(group: pd.DataFrame) -> pd.DataFrame:
    """Runs of phase "confirm" alone where there are any; of a seed trained twice the last run."""
    if "tags.phase" in group and (group["tags.phase"] == "confirm").any():
        group = group[group["tags.phase"] == "confirm"]
    return group.drop_duplicates(["config", "seed"], keep="last")


def estimate(group: pd.DataFrame, name: str) -> Estimate | None:
    """A metric over the runs of a group, accuracies in percent."""
    scale = 100 if is_fraction(name) else 1
    values = group[name].dropna()
    return Estimate.of(scale * values) if len(values) else None


def left_out(frame: pd.DataFrame) -> list[str]:
    """What the runs that did not learn all tasks were."""
    incomplete, notes = frame[~_is_complete(frame)], []
    if "tags.stopped_early" in incomplete:
        is_stopped = incomplete["tags.stopped_early"].notna()
        if is_stopped.any():
            notes.append(f"left out: {is_stopped.sum()} stopped early, by the sweep's own rule")
        incomplete = incomplete[~is_stopped]
    if incomplete.empty:
        return notes
    counts = incomplete["status"].value_counts()
    states = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return [*notes, f"left out: {len(incomplete)} that did not learn all tasks ({states})"]


def trials_of(group: pd.DataFrame) -> str:
    """Numbers of the trials of some runs."""
    trials = sorted(set(group["tags.trial"])) if "tags.trial" in group else []
    return ", ".join(map(_value, trials))


def varied_params(runs: pd.DataFrame) -> list[str]:
    """What sets the configurations apart."""
    return [name for name in _params(runs) if runs[name].nunique() > 1]


def tested_metrics(runs: pd.DataFrame) -> list[str]:
    """Average accuracies on test data that were measured."""
    names = [f"test/{scenario}/average_accuracy" for scenario in SCENARIOS]
    return [name for name in names if name in runs and runs[name].notna().any()]


def _is_complete(frame: pd.DataFrame) -> pd.Series:
    return (frame["tasks_learned"] == frame["num_tasks"]) & (frame["num_tasks"] > 0)


def _params(runs: pd.DataFrame) -> list[str]:
    """The columns that set configurations apart: every param but the seed."""
    names = [str(name) for name in runs.columns]
    alone = ("scenario", "eval_scenarios")
    return [name for name in names if name.startswith(_PARAM_GROUPS) or name in alone]
