"""The data of a page: its runs and matrices; the page of several sweeps or of a table."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeps.output.html_page import Head, html_page, pack
from sweeps.output.table import Table
from sweeps.records.entries import (
    MAX_TASKS_AS_SERIES,
    Recorded,
    method_of,
    read_recorded,
    run_row,
)
from sweeps.records.entries import read_matrices as matrices_of
from sweeps.records.folder import SweepFolder
from sweeps.reports.runs import varied_params
from sweeps.reports.sweep_tables import objectives_of
from sweeps.reports.within_tasks import read_series
from sweeps.space.yaml_file import load_yaml

HEADLINES = ("average_accuracy", "learning_accuracy", "forgetting", "backward_transfer", "mse",
             "compression_ratio", "wall_seconds", "peak_memory_gb",
             "peak_gpu_memory_gb")  # fmt: skip
STEPS = {True: 10_000, False: 1_000_000}  # of an accuracy, of another measure
STATES = {"end": "done", "failed": "failed", "stopped": "stopped early"}


def page_data(recorded: Recorded, urls: Mapping[str, str]) -> dict[str, Any]:
    """Collect what the page's script shows: runs, searched settings, objectives, matrices."""
    journals, storage = recorded.journals, recorded.folders[0].storage
    names, modes = objectives_of(recorded.frame, recorded.settings)
    varied = varied_params(recorded.frame)
    matrices = [matrices_of(records) for records in journals.values()]
    runs = [
        _run(path.relative_to(storage.parent), records, varied, urls)
        for path, records in journals.items()
    ]
    ids = {config: index for index, config in enumerate(dict.fromkeys(r["config"] for r in runs))}
    for run in runs:
        run["config"] = ids[run["config"]]
    fraction = not any(key.endswith("/mse") for run in runs for key in run["metrics"])
    series = [read_series(records, STEPS[fraction]) for records in journals.values()]
    return {
        "objectives": names,
        "modes": modes,
        "searched": _searched(recorded.folders, varied),
        "fraction": fraction,
        "scale": STEPS[fraction],
        "runs": runs,
        "matrices": pack(_differences(matrices, runs, STEPS[fraction])),
        "within": pack(series) if any(series) else None,
    }


def _run(
    place: Path,
    records: list[dict[str, Any]],
    varied: Sequence[str],
    urls: Mapping[str, str],
) -> dict[str, Any]:
    start, last, row = records[0], records[-1], run_row(records)
    params, tags = start["params"], start.get("tags") or {}
    headline = {
        key: value for key, value in row.items()
        if isinstance(value, float) and key.rpartition("/")[2] in HEADLINES
    }  # fmt: skip
    return {
        "id": start["run_key"],
        "sweep": start["sweep"],
        "trial": start["trial"],
        "seed": start["seed"],
        "method": method_of(start),
        "benchmark": str(params.get("benchmark/name", "")),
        "scenario": str(params.get("scenario", "task")),
        "phase": start["phase"],
        "status": STATES.get(last["kind"], "not finished"),
        "reason": last.get("reason", ""),
        "config": str(tags.get("config_id") or place.parent.name),
        "params": {k: _plain(params[k]) for k in varied if params.get(k) is not None},
        "metrics": headline,
        "commit": str(tags.get("git_commit") or "")[:7] + ("+" if tags.get("git_dirty") else ""),
        "command": f"hcl run {shlex.quote(os.fspath(place / 'result.json'))} --name again",
        "url": urls.get(start["run_key"]),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return str(list(value)) if isinstance(value, list | tuple) else str(value)


def _searched(folders: Sequence[SweepFolder], varied: Sequence[str]) -> list[dict[str, Any]]:
    """List the searched settings that differ, in the file's order, and whether each is in logs."""
    searched: dict[str, dict[str, bool]] = {}
    for folder in folders:
        space = load_yaml(folder.space_file) if folder.space_file.exists() else {}
        for key, parameter in (space.get("search") or {}).items():
            found = parameter if isinstance(parameter, dict) else {}
            is_choice = found.get("type") == "choice"
            searched[key] = {"log": bool(found.get("log")), "choice": is_choice}
    keys = [*searched, *(key for key in varied if key not in searched)]
    plain = {"log": False, "choice": False}
    return [{"key": key, **searched.get(key, plain)} for key in keys if key in varied]


def _differences(
    matrices: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]], scale: int
) -> dict[str, list[list[int | None] | None]]:
    """Write each matrix as one list of steps from row to row, which compresses well.

    Of long sequences only the test matrix in the scenario of the training is written.
    """
    longest = max((len(rows) for each in matrices for rows in each.values()), default=0)
    names = list(dict.fromkeys(name for each in matrices for name in each))
    if longest > MAX_TASKS_AS_SERIES:
        names = [name for name in names if name in {f"test/{run['scenario']}" for run in runs}]
    names.sort(key=lambda name: not name.startswith("test/"))
    return {name: [_steps(each.get(name), scale) for each in matrices] for name in names}


def _steps(rows: Sequence[Sequence[float | None]] | None, scale: int) -> list[int | None] | None:
    if not rows:
        return None
    steps: list[int | None] = []
    before: list[int | None] = []
    for row in rows:
        now = [None if value is None else round(scale * value) for value in row]
        for i, value in enumerate(now):
            known = before[i] if i < len(before) else None
            steps.append(None if value is None else value - (known or 0))
        before = now
    return steps


def comparison_page(
    title: str,
    tables: Sequence[Table],
    pictures: Mapping[str, bytes],
    folders: Sequence[SweepFolder],
    head: Mapping[str, str],
) -> str:
    """Write the page of several sweeps, or of a table: its tables, figures and recorded runs.

    Args:
        title: of the page.
        tables: in the order of the page.
        pictures: name -> content of a PNG file.
        folders: sweeps whose journals are here; may be empty.
        head: `kind`, `command` and facts.
    """
    recorded = [folder for folder in folders if folder.journals()]
    facts = {key: value for key, value in head.items() if key not in ("kind", "command")}
    top = Head(title, head.get("kind", ""), facts=facts, command=head.get("command", ""))
    return html_page(
        top, tables, pictures, page_data(read_recorded(recorded), {}) if recorded else None
    )
