"""Protocols and core-hours through real trainings: what each run saw, and when searches end."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_study import TEXT

from hcl import TrialConfig
from hcl.training.process import Runtime
from hcl.training.trial_state import load_benchmark
from sweeps.comparison.plan import make_plan
from sweeps.comparison.run import StudyRequest, read_outcomes
from sweeps.comparison.study_file import load_study
from sweeps.records.entries import read_journals
from sweeps.records.folder import SweepFolder

FIRST = [(0, 1), (2, 3)]  # classes of the tasks that a search may see of the three


def run_study(folder: Path, *changes: str) -> tuple[StudyRequest, str]:
    """Run the tiny study with changes in a process of its own; return it and what it prints."""
    path = folder / "tiny.yaml"
    path.write_text(TEXT)
    options = [word for change in changes for word in ("--set", change)]
    command = [sys.executable, "-m", "sweeps.cli", "study", str(path), *options]
    done = subprocess.run(
        [*command, "--storage", str(folder / "storage")],
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kept = folder / "storage/studies/tiny"
    assert {path.suffix for path in kept.iterdir()} >= {".md", ".tex", ".csv", ".html"}
    spec = load_study(path, "", lambda values: _changed(values, changes))
    return StudyRequest(
        spec, tuple(make_plan(spec)), SweepFolder(folder / "storage", "tiny")
    ), done.stdout


def _changed(values: dict[str, Any], changes: tuple[str, ...]) -> dict[str, Any]:
    from sweeps.commands.options import changed

    return changed(values, list(changes))


def seen(folder: SweepFolder) -> list[tuple[str, list[tuple[int, ...]]]]:
    """The benchmark and the classes of each task, of every training that has a result."""
    found = []
    for path in sorted(folder.path.rglob("result.json")):
        result = json.loads(path.read_text())
        config = TrialConfig.from_dict(result["config"])
        tasks = [task.labels for task in load_benchmark(config, Runtime()).tasks]
        assert len(result["accuracy"]["test/task"]) == len(tasks)  # each task was learned
        found.append((config.benchmark.name, tasks))
    return found


def protocols(folder: SweepFolder) -> set[str]:
    return {records[0]["tags"]["protocol"] for records in read_journals(folder).values()}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_first_tasks_searches_two_of_three_tasks_and_confirms_all(tmp_path: Path) -> None:
    request, said = run_study(tmp_path, "protocol={first_tasks: 2}")
    for sweep in request.sweeps().values():
        assert seen(sweep.folder) == [("split_digits", FIRST)] * 2
        assert protocols(sweep.folder) == {"first_tasks 2"}
    confirmed = seen(request.folder)
    assert len(confirmed) == 2 * 3 and all(len(tasks) == 3 for _, tasks in confirmed)
    assert protocols(request.folder) == {"first_tasks 2"}
    assert "protocol: first_tasks 2" in said
    for one in read_outcomes(request):
        assert one.spent.trials == 2 and len(one.results) == 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_disjoint_tasks_confirms_classes_that_no_search_saw(tmp_path: Path) -> None:
    request, _ = run_study(tmp_path, "protocol={disjoint_tasks: 1}", "confirmation/pairs=2")
    for sweep in request.sweeps().values():
        assert seen(sweep.folder) == [("split_digits", FIRST[:1])] * 2
    confirmed = seen(request.folder)
    assert len(confirmed) == 2 * 2
    for _, tasks in confirmed:
        assert len(tasks) == 2 and set(sum(tasks, ())) == {2, 3, 4, 5}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_transfer_searches_another_benchmark(tmp_path: Path) -> None:
    request, said = run_study(
        tmp_path, "protocol={transfer: permuted_digits}", "confirmation/pairs=2"
    )
    for sweep in request.sweeps().values():
        found = seen(sweep.folder)
        assert [name for name, _ in found] == ["permuted_digits"] * 2
        assert all(len(tasks) == 5 for _, tasks in found)
    confirmed = seen(request.folder)
    assert [(name, len(tasks)) for name, tasks in confirmed] == [("split_digits", 3)] * 4
    assert "protocol: transfer permuted_digits" in said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_core_hours_end_each_search(tmp_path: Path) -> None:
    """No trial begins once they are spent: all but the last one took less, together more."""
    hours = 2e-4
    request, said = run_study(
        tmp_path, f"effort={{core_hours: {hours}}}", "sweep/max_concurrent_trials=1",
        "confirmation/pairs=2",
    )  # fmt: skip
    for sweep in request.sweeps().values():
        ends = {
            records[0]["trial"]: records[-1]["metrics"]["wall_seconds"] / 3600
            for records in read_journals(sweep.folder).values()
        }
        spent = [ends[number] for number in sorted(ends)]
        assert 1 <= len(spent) < 1000 and sum(spent[:-1]) < hours <= sum(spent)
    for one in read_outcomes(request):
        assert one.spent.hours >= hours and len(one.results) == 2
    assert "effort: 0.0002 core-hours for every search" in said
