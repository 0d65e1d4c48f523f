"""Journal records as a run: its params, tags, metrics and status, named as MLflow shows them.

`read_recorded(folders).frame` is the table of runs that MLflow would give, read from disk.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sweeps.output.metric_names import label
from sweeps.records.folder import SweepFolder
from sweeps.records.redact import redact
from sweeps.records.trial_ends import readable_records
from sweeps.space.yaml_file import load_yaml

# Beyond this many tasks a row of the matrix is not stored as metrics: thousands of columns break
# the UI's table. The whole matrix is an artifact in any case.
MAX_TASKS_AS_SERIES = 20
_TASK_ACCURACY = re.compile(r"/(acc|zero_shot)/task_\d+$")


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


def method_of(start: dict[str, Any]) -> str:
    """Name a run's method as tables do: a user's own as its runs recorded it."""
    tags = run_tags(start)
    scenario = tags.get("scenario", "")
    return tags.get(f"label_{scenario}") or label(tags.get("method", ""), scenario)


def run_name(start: dict[str, Any]) -> str:
    """Name a run by what it trains, as in `HNET+ENT · split_mnist · trial 6 · seed 1`.

    A training without a search has no trial number; the digest of its settings stands for it.
    """
    tags, trial, method = run_tags(start), start["trial"], method_of(start)
    place = f"trial {trial}" if isinstance(trial, int) else f"config {trial[:6]}"
    parts = [method, tags.get("benchmark", ""), place, f"seed {start['seed']}"]
    return " · ".join(part for part in parts if part)


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
        elif record["kind"] == "scores":
            metrics, step = _scores_within(record, num_tasks), record["total_steps"]
        elif record["kind"] == "end":
            metrics = _finite(record.get("metrics"))
        for key, value in metrics.items():
            if (key, step) not in given:
                given.add((key, step))
                if index >= first:
                    yield key, value, milliseconds(record), step


def _task_metrics(record: dict[str, Any], num_tasks: int) -> dict[str, float]:
    """The metrics of a "task" record; accuracies of each task only in short sequences.

    MLflow shows metrics in the order in which they come first: what a person looks for leads.
    """
    metrics = _shown(record, num_tasks)
    first = {k: v for k, v in metrics.items() if k.endswith("/average_accuracy")}
    extra = {key: record.get(key) for key in ("seconds", "steps_per_second")}
    last = {"tasks_learned": float(record["tasks_learned"])}
    return first | metrics | _finite(extra) | _finite(record.get("usage")) | last


def _scores_within(record: dict[str, Any], num_tasks: int) -> dict[str, float]:
    """The metrics of a "scores" record, whose steps are those of the training."""
    return {f"within_task/{key}": value for key, value in _shown(record, num_tasks).items()}


def _shown(record: dict[str, Any], num_tasks: int) -> dict[str, float]:
    metrics = _finite(record.get("metrics"))
    if num_tasks > MAX_TASKS_AS_SERIES:
        metrics = {k: v for k, v in metrics.items() if not _TASK_ACCURACY.search(k)}
    return metrics


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


# --- rows of a table of runs ------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """Records of one or more sweeps, as their folders have them.

    Attributes:
        folders: of the sweeps.
        journals: the records of every seed that has begun, by its folder.
        frame: one row per journal, with the same columns as `runs_frame` of MLflow.
        settings: params and tags of the first sweep's own run.
    """

    folders: Sequence[SweepFolder]
    journals: dict[Path, list[dict[str, Any]]]
    frame: pd.DataFrame
    settings: dict[str, str]


def read_recorded(folders: Sequence[SweepFolder]) -> Recorded:
    """Read all records of one or more sweeps."""
    journals = {path: it for folder in folders for path, it in read_journals(folder).items()}
    frame = rows_frame(list(map(run_row, journals.values())))
    return Recorded(folders, journals, frame, recorded_settings(folders[0]))


def read_journals(folder: SweepFolder) -> dict[Path, list[dict[str, Any]]]:
    """Read the records of every seed that has begun, by its folder."""
    found = {path: readable_records(path) for path in folder.journals()}
    return {path: records for path, records in found.items() if records}


def read_matrices(records: Sequence[dict[str, Any]]) -> dict[str, list[list[float | None]]]:
    """Read the accuracy matrices of a journal; of a training without end, what it reached."""
    if records[-1]["kind"] == "end" and records[-1].get("accuracy"):
        return records[-1]["accuracy"]
    rows: dict[str, dict[int, list[float | None]]] = {}
    for record in records:
        if record["kind"] != "task":
            continue
        learned = record["tasks_learned"]
        for key, value in record["metrics"].items():
            name, found, task = key.partition("/acc/task_")
            if found and int(task) < learned:
                row = rows.setdefault(name, {}).setdefault(learned - 1, [None] * learned)
                row[int(task)] = value
    return {name: [by_task[t] for t in sorted(by_task)] for name, by_task in rows.items()
            if sorted(by_task) == list(range(len(by_task)))}  # fmt: skip


def run_row(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make the row of one journal; a metric has its last value."""
    start, last, records = records[0], records[-1], list(records)
    tags = run_tags(start) | {"run_key": start["run_key"], "kind": "trial"}
    if last["kind"] == "failed":
        tags["failure"] = text(last["reason"])
    if last["kind"] == "stopped":
        tags["stopped_early"] = f"after {last['tasks_learned']} tasks"
    end = last if last["kind"] == "end" else {}
    tags |= {f"versions/{k}": text(v) for k, v in (end.get("versions") or {}).items()}
    # In the order of steps, so that the last one stays.
    points = sorted(metric_points(records, 0), key=lambda point: point[3])
    digest = end.get("data_digest") or tags.get("data_digest")
    row = {
        "status": run_status(records)[0],
        "start_time": milliseconds(start),
        "num_tasks": tags.get("num_tasks"),
        "data_digest": str(digest)[:36] if end and digest else None,
    }
    row |= {f"tags.{key}": value for key, value in tags.items() if not key.startswith("mlflow.")}
    return row | run_params(start) | {key: value for key, value, _, _ in points}


def rows_frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Make the table of runs, ordered by sweep, trial and seed; numbers are numbers in it."""
    frame = pd.DataFrame(rows)
    for column in ("run_id", "status", "tasks_learned", "num_tasks"):
        if column not in frame:
            frame[column] = pd.Series(dtype=float)
    frame["tasks_learned"] = frame["tasks_learned"].fillna(0)
    for column in frame.columns:
        # A tag or a digest may look like a number and be a name, of a commit for example.
        is_name = column.startswith("tags.") or column == "data_digest"
        if not is_name or column in ("tags.seed", "tags.trial"):
            frame[column] = _as_numbers(frame[column])
    order = [c for c in ("tags.sweep", "tags.trial", "tags.seed") if c in frame]
    return frame.sort_values(order, ignore_index=True) if order else frame


def recorded_settings(folder: SweepFolder) -> dict[str, str]:
    """Read what the sweep's own MLflow run says: constants, settings, command, commit."""
    info = folder.read_info()
    space = load_yaml(folder.space_file) if folder.space_file.exists() else {}
    settings = {"description": space.get("description"), **space_params(space)}
    settings |= {key: info[key] for key in ("command", "git_commit", "git_dirty") if key in info}
    return {key: text(value) for key, value in settings.items()}


def space_params(space: dict[str, Any]) -> dict[str, Any]:
    """Return the constants and settings of a search space file, as params of the sweep's run."""
    sweep = {f"sweep/{key}": value for key, value in (space.get("sweep") or {}).items()}
    return {**(space.get("trial") or {}), **sweep}


def _as_numbers(column: pd.Series) -> pd.Series:
    """Convert the column if every value is a number, else leave it."""
    try:
        return pd.to_numeric(column)
    except (ValueError, TypeError):
        return column
