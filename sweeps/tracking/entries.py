"""Journal records as MLflow's params, tags, metrics and status. Knows no MLflow."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from sweeps.records.redact import redact

# Beyond this many tasks a row of the matrix is not stored as metrics: thousands of columns break
# the UI's table. The whole matrix is an artifact in any case.
MAX_TASKS_AS_SERIES = 20
_TASK_ACCURACY = re.compile(r"/acc/task_\d+$")


def text(value: Any) -> str:
    """Write a value as MLflow shows it: lists as "10,10", None as "", no credentials."""
    if isinstance(value, list | tuple):
        written = ",".join(text(item) for item in value)
    elif isinstance(value, dict):
        written = json.dumps(value, sort_keys=True)
    else:
        written = "" if value is None else str(value)
    return redact(written)


def run_params(start: dict[str, Any]) -> dict[str, str]:
    """Return the trial's flat configuration, under its own names."""
    return {key: text(value) for key, value in (start.get("params") or {}).items()}


def run_tags(start: dict[str, Any]) -> dict[str, str]:
    """Return what runs are filtered and grouped by.

    A dict in the record, such as `versions`, gives one tag per key: `versions/torch`.
    """
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
        tags["mlflow.source.git.commit"] = tags["git_commit"]  # the UI shows it as the version
    return {key: text(value) for key, value in tags.items() if value is not None}


def run_title(start: dict[str, Any]) -> str:
    """Say which run a picture is of: benchmark, method, and place in the sweep."""
    tags = run_tags(start)
    parts = [tags.get("benchmark", ""), tags.get("method", ""), start["run_key"]]
    return "  ".join(part for part in parts if part)


def run_status(records: list[dict[str, Any]]) -> tuple[str, int | None]:
    """Return the run's MLflow status by its last record, and when it ended (None: it goes on)."""
    last = records[-1]
    if last["kind"] == "end":
        return last.get("status", "FINISHED"), milliseconds(last)
    if last["kind"] in ("failed", "stopped"):
        return last.get("status", "FAILED"), milliseconds(last)
    return "RUNNING", None


def delivered_tag(records: list[dict[str, Any]]) -> str:
    """Write what the tag `delivered` says once the server has these records: how many.

    In a journal that was repaired, other records are counted than before: the tag then names the
    repairs too.
    """
    repairs = sum(record["kind"] == "mended" for record in records)
    return f"{len(records)} after {repairs} repairs" if repairs else str(len(records))


def num_delivered(tag: str, records: list[dict[str, Any]]) -> int:
    """Read the tag `delivered`: how many of these records the server has for certain."""
    count, _, repairs = tag.partition(" ")
    is_same = repairs == delivered_tag(records).partition(" ")[2]
    return int(count) if is_same and count.isdecimal() else 0


def metric_points(
    records: list[dict[str, Any]], first: int
) -> Iterator[tuple[str, float, int, int]]:
    """Return (key, value, time in milliseconds, step) for the records from index `first` on.

    A metric has one point at a step: the first. A task that is reported again after a kill adds
    none, nor does an "end" whose average was summed in another order, which may differ from the
    last task's in the last bit.
    """
    num_tasks = int(records[0].get("params", {}).get("benchmark/num_tasks", 0))
    given: set[tuple[str, int]] = set()
    learned = 0
    # Records before `first` are read too: they say which points were given already.
    for index, record in enumerate(records):
        metrics, step = {}, learned
        if record["kind"] == "task":
            metrics, step = _task_metrics(record, num_tasks), record["tasks_learned"]
            learned = max(learned, step)
        elif record["kind"] == "end":
            metrics = _finite(record.get("metrics"))
        for key, value in metrics.items():
            if (key, step) not in given:
                given.add((key, step))
                if index >= first:
                    yield key, value, milliseconds(record), step


def _task_metrics(record: dict[str, Any], num_tasks: int) -> dict[str, float]:
    """The metrics of a "task" record; accuracies of each task only in short sequences."""
    metrics = _finite(record.get("metrics"))
    if num_tasks > MAX_TASKS_AS_SERIES:
        metrics = {k: v for k, v in metrics.items() if not _TASK_ACCURACY.search(k)}
    extra = {key: record.get(key) for key in ("seconds", "steps_per_second")}
    return {"tasks_learned": float(record["tasks_learned"])} | _finite(extra) | metrics


def _finite(metrics: dict[str, Any] | None) -> dict[str, float]:
    """Leave out null and NaN, which mean "no value", and inf, which MLflow stores as 1.8e308."""
    return {
        key: float(value)
        for key, value in (metrics or {}).items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def milliseconds(record: dict[str, Any]) -> int:
    """Return the time of a record as MLflow counts it: milliseconds since 1970."""
    return int(1000 * record["time"])
