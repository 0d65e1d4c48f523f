"""Several objectives: the configurations that no other beats in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.output.metric_names import UNITS, heading, spell
from sweeps.output.table import Cell, Table
from sweeps.reports.runs import (
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


def front(values: Sequence[Sequence[float]], modes: Sequence[str]) -> list[int]:
    """Indices of the points that no other dominates: as good in all, better in one.

    Args:
        values: a point's objectives.
        modes: "max" or "min" for each objective.
    """
    signs = [1 if mode == "max" else -1 for mode in modes]
    points = [[sign * v for sign, v in zip(signs, point, strict=True)] for point in values]

    def dominates(one: list[float], other: list[float]) -> bool:
        return one != other and all(a >= b for a, b in zip(one, other, strict=True))

    return [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]


def pareto_table(frame: pd.DataFrame, objectives: list[str], modes: list[str]) -> Table:
    """The Pareto front over configurations, each objective its mean over seeds.

    Args:
        frame: from `runs_frame`.
        objectives: metrics, on validation data where they are accuracies.
        modes: "max" or "min" for each.
    """
    runs = complete_runs(frame)
    groups: list[pd.DataFrame] = []
    if set(objectives) <= set(runs):
        scored = one_run_per_seed(runs.dropna(subset=objectives))
        groups = [group for _, group in scored.groupby("config", sort=False)]
    means = [[float(group[name].mean()) for name in objectives] for group in groups]
    best = sorted(front(means, modes), key=lambda i: means[i][0], reverse=modes[0] == "max")
    varied = varied_params(runs)
    tested = tested_metrics(runs)
    rows = []
    for index in best:
        group = groups[index]
        row: list[Cell] = [trials_of(group), spell(group[varied].iloc[0])]
        row += [estimate(group, name) for name in (*objectives, *tested)]
        rows.append(tuple(row))
    columns = ("trial", "configuration", *map(heading, (*objectives, *tested)))
    aims = ", ".join(f"{mode} {name}" for mode, name in zip(modes, objectives, strict=True))
    notes = (UNITS, f"{aims}; test data ranks nothing", *left_out(frame))
    return Table(f"Pareto front: {len(best)} of {len(groups)} configurations", columns,
                 tuple(rows), notes)  # fmt: skip
