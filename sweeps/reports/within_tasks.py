"""Scores within tasks (`train/eval_every`): how deep a past task falls as the next one begins."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.records.entries import MAX_TASKS_AS_SERIES

NUMBERS = 2000  # of a run in a page; of a longer series every second, third, ... point is left


def read_series(records: Sequence[dict[str, Any]], scale: int) -> dict[str, Any] | None:
    """Read a journal's scores within tasks, in the scenario of the training.

    Returns:
        `steps`: of each point, those of earlier tasks included. `lines`: a list for each task (in
        long sequences one alone, their mean), as long as `steps`: whole numbers, in units of
        1 / scale; None before the task begins. None where nothing was scored within a task.
    """
    points = {r["total_steps"]: r["metrics"] for r in records if r["kind"] == "scores"}
    if not points:
        return None
    params = records[0]["params"]
    start = f"val/{params.get('scenario', 'task')}"
    steps, num_tasks = sorted(points), int(params.get("benchmark/num_tasks", 0))
    score = "mse" if any(key.startswith(f"{start}/mse/") for key in points[steps[0]]) else "acc"
    keys = [f"{start}/{score}/task_{i:02d}" for i in range(num_tasks)]
    if num_tasks > MAX_TASKS_AS_SERIES:
        keys = [f"{start}/average_{'accuracy' if score == 'acc' else 'mse'}"]
    steps = _thinned(steps, len(keys))
    lines = [[_rounded(points[step], key, scale) for step in steps] for key in keys]
    return {"steps": steps, "lines": lines}


def _thinned(steps: list[int], num_lines: int) -> list[int]:
    """Leave out points evenly, but never the last."""
    every = max(1, math.ceil(len(steps) * num_lines / NUMBERS))
    return [*steps[:-1:every], steps[-1]]


def _rounded(metrics: Mapping[str, float | None], key: str, scale: int) -> int | None:
    value = metrics.get(key)
    return None if value is None else round(scale * value)
