"""Rows read from journals: the same as MLflow gives once it has the journals."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from journals import write_journal

from sweeps.records.entries import read_recorded
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.tracking import Store, deliver, runs_frame

pytestmark = pytest.mark.timeout(60)
NAME = "rows"


def folder_of(tmp_path: Path) -> SweepFolder:
    """Record a whole run, one that failed, one stopped early and one that only began."""
    folder = SweepFolder(tmp_path, NAME)
    for trial, tasks in enumerate((None, 1, 2, 0)):
        made = write_journal(tmp_path, f"{NAME}/{trial:04d}/seed_1", tasks)
        shutil.move(made, folder.seed_folder(trial, 1))
    failure = "out of memory: http://me:secret@host"
    Journal(folder.seed_folder(1, 1)).append("failed", reason=failure, status="FAILED")
    Journal(folder.seed_folder(2, 1)).append("stopped", tasks_learned=2, status="KILLED")
    return folder


def test_rows_of_journals_equal_those_of_mlflow(store: Store, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    assert all(deliver(store, path, None) for path in folder.journals())
    stored = runs_frame(store, NAME).drop(columns=["run_id", "tags.delivered"])
    frame = read_recorded([folder]).frame.drop(columns="run_id")
    assert frame["status"].tolist() == ["FINISHED", "FAILED", "KILLED", "RUNNING"]
    assert frame["tags.failure"][1] == "out of memory: http://***@host"
    pd.testing.assert_frame_equal(frame[sorted(frame)], stored[sorted(stored)])


def test_a_sweep_without_journals_gives_an_empty_frame(tmp_path: Path) -> None:
    frame = read_recorded([SweepFolder(tmp_path, "none")]).frame
    assert frame.empty and "tasks_learned" in frame
