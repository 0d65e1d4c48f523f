"""Runs of a sweep -> tables. Test data is shown here and chooses nothing.

A run counts when it learned all its tasks, whatever status MLflow gives it: MLflow calls stopped
runs FINISHED too. The others are counted in a footnote.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from hcl.config import ConfigError
from sweeps.table import Cell, Estimate, Table, numbers_csv

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.tracking import Store

# Registry keys are [a-z0-9_]; these are the papers' names, in the order of a table's columns.
LABELS = {
    "hnet": "HNET",
    "hnet_ent": "HNET+ENT",
    "hnet_tir": "HNET+TIR",
    "hnet_r": "HNET+R",
    "online_ewc": "Online EWC",
    "ewc": "EWC",
    "si": "SI",
    "dgr": "DGR",
    "dgr_distill": "DGR+distill",
    "lwf": "LwF",
    "er": "ER",
    "finetune": "Fine-tuning",
    "from_scratch": "From scratch",
    "joint": "Joint",
}
SCENARIOS = ("task", "domain", "class")
FORMS: dict[str, Callable[[Table], str]] = {
    "markdown": Table.markdown,
    "latex": Table.latex,
    "csv": Table.csv,
    "terminal": Table.terminal,
}
_PARAM_GROUPS = ("benchmark/", "target/", "method/", "train/")
UNITS = "mean ± SEM (n seeds); n = 1 has no SEM"


def label(method: str, scenario: str) -> str:
    """A method's name in a table: a hypernetwork that is not told the task infers it (ENT)."""
    key = "hnet_ent" if method == "hnet" and scenario != "task" else method
    return LABELS.get(key, key)


def report(sweep: str, store: Store, form: str = "markdown") -> str:
    """The tables of one sweep, with the command that made them.

    Args:
        sweep: the sweep's name.
        store: where its runs are.
        form: a key of FORMS.

    Raises:
        ConfigError: There is no such sweep or form; one sentence.
    """
    from sweeps.pareto import pareto_table
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
    """Methods in the order of LABELS, unknown ones last; benchmarks by name, then scenario."""
    present = {method for row in rows.values() for method in row}
    known = [method for method in LABELS.values() if method in present]
    methods = [*known, *sorted(present - set(known))]
    order = sorted(rows, key=lambda key: (*key[:2], SCENARIOS.index(key[2])))
    body = tuple(
        (f"{key[0]} ({key[1]} tasks)", key[2], *(rows[key].get(method) for method in methods))
        for key in order
    )
    return Table(title, ("benchmark", "scenario", *methods), body, notes)


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


def heading(name: str) -> str:
    """A metric's name in words that a narrow column can break into lines."""
    words = " ".join(name.rsplit("/", 1)).replace("_", " ")
    return f"{words} (%)" if is_fraction(name) else words


def is_fraction(name: str) -> bool:
    """Whether a metric is an accuracy or a difference of two, shown in percent."""
    return any(word in name for word in ("accuracy", "forgetting", "transfer"))


def shown(name: str, value: float) -> str:
    """A metric's value as tables show it: accuracies in percent."""
    return f"{100 * value:.2f} %" if is_fraction(name) else f"{value:.4f}"


def spell(params: pd.Series) -> str:
    """beta=0.01 and so on, without the params that only other methods have."""
    return " ".join(f"{name}={_value(value)}" for name, value in params.dropna().items())


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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


def _setting(settings: dict[str, str], name: str) -> str | None:
    return settings.get(name) or settings.get(f"sweep/{name}")


def _default_objective(frame: pd.DataFrame) -> str:
    names = [f"val/{scenario}/average_accuracy" for scenario in SCENARIOS]
    return next((name for name in names if name in frame), names[0])
