"""The page of a sweep: its data are those of the journals, and fit a mail."""

import base64
import json
import random
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from journals import matrices_of, write_journal

from sweeps.output.html_page import pack
from sweeps.records.entries import read_recorded
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.reports.page import _differences, page_data
from sweeps.reports.summary import read_results, sweep_page

NAME = "paged"
SPACE = {
    "description": "A question?",
    "trial": {"method/name": "hnet"},
    "search": {"method/beta": {"type": "float", "low": 0.01, "high": 1.0, "log": True}},
    "sweep": {"objective": "val/task/average_accuracy", "mode": "max"},
}


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """Record two whole runs of one trial, and one run that failed after two tasks."""
    folder = SweepFolder(tmp_path, NAME)
    folder.write_space(SPACE)
    folder.write_info(command="hcl sweep x.yaml", git_commit="0123abc", git_dirty=True)
    for trial, seed, tasks in ((0, 1, None), (0, 2, None), (1, 1, 2)):
        key = f"{NAME}/{trial:04d}/seed_{seed}"
        offset = 0.001 * seed
        made = write_journal(tmp_path, key, tasks, offset, **{"method/beta": 0.1 + trial})
        shutil.move(made, folder.seed_folder(trial, seed))
    Journal(folder.seed_folder(1, 1)).append("failed", reason="loss is nan", status="FAILED")
    return folder


def unpacked(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text)))


def restored(steps: list[int], scale: int) -> list[list[float]]:
    """Undo the steps, as `matrixOf` in the page's script does."""
    rows: list[list[int]] = []
    rest = list(steps)
    while rest:
        row = [rest.pop(0) for _ in range(len(rows) + 1)]
        before = [*(rows[-1] if rows else []), 0]
        rows.append([step + known for step, known in zip(row, before, strict=True)])
    return [[value / scale for value in row] for row in rows]


def test_the_page_has_every_run_and_matrix(folder: SweepFolder) -> None:
    data = page_data(read_recorded([folder]), {f"{NAME}/0000/seed_1": "http://127.0.0.1:5000/#/x"})
    first, second, failed = data["runs"]
    assert [run["status"] for run in data["runs"]] == ["done", "done", "failed"]
    assert first["config"] == second["config"] != failed["config"]
    assert (failed["reason"], failed["params"]) == ("loss is nan", {"method/beta": 1.1})
    assert first["metrics"]["test/task/average_accuracy"] == pytest.approx(0.971)
    assert first["url"] == "http://127.0.0.1:5000/#/x" and second["url"] is None
    assert first["commit"] == "0123abc" and first["method"] == "HNET"
    path = f"{folder.storage.name}/sweeps/{NAME}/trials/0000/seed_1/result.json"
    assert first["command"] == f"hcl run {path} --name again"
    assert data["searched"] == [{"key": "method/beta", "log": True, "choice": False}]
    matrices = unpacked(data["matrices"])
    assert list(matrices) == ["test/task", "test/class", "val/task", "val/class"]
    for name, rows in matrices_of(offset=0.002).items():
        read = restored(matrices[name][1], data["scale"])
        assert read == [pytest.approx(row, abs=0.5 / data["scale"]) for row in rows]
    assert len(matrices["test/task"][2]) == 3  # two tasks, as far as it came


def test_the_page_begins_with_the_answer(folder: SweepFolder) -> None:
    page = sweep_page(read_results(folder), {})
    assert "<strong>97.15 ± 0.05 %</strong>" in page
    assert "2 seeds: best of the sweep, trial 0, chosen by val/task average accuracy" in page
    assert "A question?" in page and "<pre>hcl sweep x.yaml</pre>" in page
    assert "0123abc, with changes that were not committed" in page
    assert page.index("Best 1 of 1 configurations") < page.index("Accuracy matrices")


def test_a_sweep_without_a_finished_run_has_a_page(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, NAME)
    shutil.move(write_journal(tmp_path, f"{NAME}/0000/seed_1", 0), folder.seed_folder(0, 1))
    assert page_data(read_recorded([folder]), {})["runs"][0]["status"] == "not finished"
    assert "<strong>" not in sweep_page(read_results(folder), {})


def test_200_runs_of_100_tasks_fit_two_megabytes() -> None:
    draw = random.Random(0)
    runs = []
    for _ in range(200):
        rows: list[list[float]] = []
        for _ in range(100):
            before = rows[-1] if rows else []
            kept = [value - 0.0006 + draw.gauss(0, 0.0015) for value in before]
            rows.append([*kept, 0.97 + draw.gauss(0, 0.004)])
        runs.append({"test/task": rows, "val/task": rows})
    steps = _differences(runs, [{"scenario": "task"}] * 200, 10_000)
    assert list(steps) == ["test/task"]
    assert len(pack(steps)) < 1_600_000
