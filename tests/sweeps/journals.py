"""Synthetic journals in the documented format, for the tests of tracking and report."""

import hashlib
from pathlib import Path
from typing import Any

from sweeps.records.journal import Journal

CLOCK = 1_700_000_000.0  # the first record's time; every later record is one second on


def accuracy_rows(num_tasks: int, forgetting: float, offset: float = 0.0) -> list[list[float]]:
    """Return accuracy[t][i] = 0.98 + offset - forgetting * (t - i)."""
    return [[0.98 + offset - forgetting * (t - i) for i in range(t + 1)] for t in range(num_tasks)]


def start_fields(key: str = "demo/0000/seed_1", **params: Any) -> dict[str, Any]:
    sweep, trial, seed = key.split("/")
    number = int(seed.removeprefix("seed_"))
    config = {
        "benchmark/name": "split_digits",
        "benchmark/num_tasks": 3,
        "scenario": "task",
        "eval_scenarios": ["task", "class"],
        "method/name": "hnet",
        "method/beta": 0.01,
        "method/hidden_sizes": [10, 10],
        "seed": number,
    } | params
    without_seed = sorted((k, str(v)) for k, v in config.items() if k != "seed")
    return {
        "run_key": key,
        "sweep": sweep,
        "trial": int(trial),
        "seed": number,
        "phase": "search",
        "params": config,
        "tags": {
            "git_commit": "0123abc",
            "git_dirty": False,
            "config_id": hashlib.sha256(str(without_seed).encode()).hexdigest()[:12],
            "versions": {"torch": "2.15.0"},
            "data_digest": "f" * 64,
        },
        "time": CLOCK,
    }


def task_fields(matrices: dict[str, list[list[float]]], learned: int) -> dict[str, Any]:
    metrics: dict[str, float] = {"loss/task": 0.1}
    for name, rows in matrices.items():
        row = rows[learned - 1]
        metrics |= {f"{name}/acc/task_{i:02d}": value for i, value in enumerate(row)}
        metrics[f"{name}/average_accuracy"] = sum(row) / len(row)
    return {"tasks_learned": learned, "metrics": metrics, "time": CLOCK + learned}


def end_fields(matrices: dict[str, list[list[float]]]) -> dict[str, Any]:
    learned = len(next(iter(matrices.values())))
    metrics = {"compression_ratio": 0.5, "wall_seconds": 12.0, "steps_per_second": 100.0}
    for name, rows in matrices.items():
        metrics[f"{name}/average_accuracy"] = sum(rows[-1]) / len(rows[-1])
        metrics[f"{name}/forgetting"] = 0.01
    return {
        "metrics": metrics,
        "accuracy": matrices,
        "status": "FINISHED",
        "time": CLOCK + learned + 1,
    }


NAMES = ("test/task", "test/class", "val/task", "val/class")


def matrices_of(
    num_tasks: int = 3, offset: float = 0.0, names: tuple[str, ...] = NAMES
) -> dict[str, list[list[float]]]:
    return {
        name: accuracy_rows(num_tasks, 0.05 if "class" in name else 0.01, offset) for name in names
    }


def write_journal(
    root: Path,
    key: str = "demo/0000/seed_1",
    tasks: int | None = None,
    offset: float = 0.0,
    names: tuple[str, ...] = NAMES,
    **params: Any,
) -> Path:
    """Write a journal of `tasks` learned tasks; with None, of all and with its end.

    Returns:
        The folder that holds it.
    """
    start = start_fields(key, **params)
    num_tasks = start["params"]["benchmark/num_tasks"]
    matrices = matrices_of(num_tasks, offset, names)
    folder = root / key
    journal = Journal(folder)
    journal.append("start", **start)
    for learned in range(1, (num_tasks if tasks is None else tasks) + 1):
        journal.append("task", **task_fields(matrices, learned))
    if tasks is None:
        journal.append("end", **end_fields(matrices))
    return folder
