"""Pareto front of several objectives: the configurations that no other beats in all of them."""

from collections.abc import Sequence

import pandas as pd

from sweeps.output.metric_names import UNITS
from sweeps.output.table import Table
from sweeps.reports.runs import complete_runs, configuration_columns, configurations, left_out


def front(values: Sequence[Sequence[float]], modes: Sequence[str]) -> list[int]:
    """Find the points that no other dominates (is as good in all objectives, better in one).

    Args:
        values: the objectives of each point.
        modes: "max" or "min" for each objective.

    Returns:
        Indices of these points.
    """
    signs = [1 if mode == "max" else -1 for mode in modes]
    points = [[sign * v for sign, v in zip(signs, point, strict=True)] for point in values]

    def dominates(one: list[float], other: list[float]) -> bool:
        return one != other and all(a >= b for a, b in zip(one, other, strict=True))

    return [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]


def pareto_table(frame: pd.DataFrame, objectives: list[str], modes: list[str]) -> Table:
    """Show the configurations on the Pareto front; an objective is the mean over seeds.

    Args:
        frame: from `runs_frame`.
        objectives: metrics, on validation data where they are accuracies.
        modes: "max" or "min" for each.
    """
    runs = complete_runs(frame)
    groups = configurations(runs, objectives)
    means = [[float(group[name].mean()) for name in objectives] for group in groups]
    best = sorted(front(means, modes), key=lambda i: means[i][0], reverse=modes[0] == "max")
    aims = ", ".join(f"{mode} {name}" for mode, name in zip(modes, objectives, strict=True))
    return Table.from_columns(
        f"Pareto front: {len(best)} of {len(groups)} configurations",
        configuration_columns(runs, [groups[index] for index in best], objectives),
        [UNITS, f"ranked by {aims}; test data do not rank", *left_out(frame)],
    )
