"""What of a journal record becomes which MLflow param, tag and metric. Knows no MLflow."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from sweeps.tracking.store import redact

# Beyond this many tasks the row of the matrix is no metric series: thousands of columns break
# the UI's table. The whole matrix is an artifact in any case.
MAX_TASKS_AS_SERIES = 20
_TASK_ACCURACY = re.compile(r"/acc/task_\d+$")


def text(value: Any) -> str:
    """A value as MLflow shows it: lists as "10,10", nothing as "", no credentials."""
    if isinstance(value, list | tuple):
        shown = ",".join(text(item) for item in value)
    elif isinstance(value, dict):
        shown = json.dumps(value, sort_keys=True)
    else:
        shown = "" if value is None else str(value)
    return redact(shown)


def run_params(start: dict[str, Any]) -> dict[str, str]:
    """The trial's flat config under its own names."""
    return {key: text(value) for key, value in (start.get("params") or {}).items()}


def run_tags(start: dict[str, Any]) -> dict[str, str]:
    """What runs are filtered and grouped by; a dict such as `versions` gives one tag per key."""
    params = start.get("params") or {}
    tags = {
        "method": params.get("method/name"),
        "benchmark": params.get("benchmark/name"),
        "scenario": params.get("scenario"),
        "num_tasks": params.get("benchmark/num_tasks"),
    }
    tags |= {key: start.get(key) for key in ("sweep", "trial", "seed", "phase")}
    for key, value in (start.get("tags") or {}).items():
        if isinstance(value, dict):
            tags |= {f"{key}/{name}": item for name, item in value.items()}
        else:
            tags[key] = value
    if tags.get("git_commit"):
        tags["mlflow.source.git.commit"] = tags["git_commit"]  # what the UI shows as version
    return {key: text(value) for key, value in tags.items() if value is not None}


def task_metrics(record: dict[str, Any], num_tasks: int) -> dict[str, float]:
    """A "task" record's metrics; per-task accuracies only where the sequence is short."""
    metrics = _finite(record.get("metrics"))
    if num_tasks > MAX_TASKS_AS_SERIES:
        metrics = {k: v for k, v in metrics.items() if not _TASK_ACCURACY.search(k)}
    extra = {key: record.get(key) for key in ("seconds", "steps_per_second")}
    return {"tasks_learned": float(record["tasks_learned"])} | _finite(extra) | metrics


def final_metrics(record: dict[str, Any], last: dict[str, float]) -> dict[str, float]:
    """An "end" record's metrics that are not already the last point of their series."""
    return {k: v for k, v in _finite(record.get("metrics")).items() if last.get(k) != v}


def _finite(metrics: dict[str, Any] | None) -> dict[str, float]:
    """Without null and NaN, which say "no value", and inf, which MLflow stores as 1.8e308."""
    return {
        key: float(value)
        for key, value in (metrics or {}).items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
