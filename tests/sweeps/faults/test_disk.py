"""A real disk without space: a small file system under one trial, or under everything."""

import errno
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from journals import start_fields
from made import train_seed
from optuna.trial import TrialState
from small_disk import SmallDisk, small_disk
from whole_sweeps import (
    GOOD,
    NAME,
    check_same,
    check_whole,
    finish,
    rows_of,
    runs,
    start,
    study_trials,
    text_of,
    wait_for,
)

from hcl import run
from hcl.__main__ import main
from hcl.config import TrialConfig
from hcl.storage import checkpoint
from hcl.storage.files import write_atomically
from sweeps.launch import resume
from sweeps.launch.finish import explain_error
from sweeps.launch.request import SweepRequest
from sweeps.records.disk_full import is_full
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.space.search_space import parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.tracking import Store, runs_frame
from sweeps.workers.context import RunContext
from sweeps.workers.seed import TrialFailed

pytestmark = [
    pytest.mark.timeout(60),  # the first one imports MLflow
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", "100k") as disk:
        yield disk


def test_a_checkpoint_that_does_not_fit_says_so_and_costs_nothing(disk: SmallDisk) -> None:
    checkpoint.save(disk.path, 1, {"x": torch.zeros(100)})
    for size in (10, 10_000, 1_000_000):  # into the file's buffer, and beyond it
        full = disk.fill()
        with pytest.raises(OSError, match="No space left") as caught:
            checkpoint.save(disk.path, 2, {"x": torch.zeros(size)})
        assert caught.value.errno == errno.ENOSPC and is_full(caught.value)
        full.unlink()
        assert [path.name for path in disk.path.iterdir()] == ["000000000001.pt"]


def test_a_journal_that_does_not_fit_says_so_and_goes_on_later(disk: SmallDisk) -> None:
    journal = Journal(disk.path)
    journal.append("start", **start_fields(), text="x" * 2600)
    full = disk.fill()
    with pytest.raises(OSError, match="No space left") as caught:  # a part of the line fits
        journal.append("task", tasks_learned=1, metrics={}, text="x" * 3000)
    assert caught.value.errno == errno.ENOSPC
    assert journal.path.stat().st_size > 3100
    assert [record["kind"] for record in journal.records()] == ["start"]
    full.unlink()
    journal.append("end", metrics={})
    assert [record["kind"] for record in journal.records()] == ["start", "end"]


def test_a_file_that_does_not_fit_is_the_old_one(disk: SmallDisk) -> None:
    path = disk.path / "result.json"
    write_atomically(path, "old")
    full = disk.fill()
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new" * 10_000)
    full.unlink()
    assert path.read_text() == "old" and list(disk.path.iterdir()) == [path]


def config() -> TrialConfig:
    return TrialConfig.from_dict(
        {"benchmark/name": "split_digits", "benchmark/num_tasks": 3, "benchmark/val_fraction": 0.2,
         "target/hidden_sizes": [8], "method/name": "si", "train/iterations": 5}
    )  # fmt: skip


@pytest.mark.parametrize("size", ["4k", "8k", "12k", "16k", "24k", "32k", "48k"])
def test_wherever_the_space_ends_the_seed_fails_and_later_goes_on(
    disk: SmallDisk, store: Store, size: str
) -> None:
    folder, context = disk.path / "seed_1", RunContext(f"full-{size}", store, threads=1)
    disk.resize(size)
    with pytest.raises(TrialFailed, match=f"^no space left on device: {folder}$"):
        train_seed(config(), context, folder, 0)
    assert not (folder / "result.json").exists()
    disk.resize("1m")
    result = train_seed(config(), context, folder, 0)
    assert result.accuracy == run(config()).accuracy
    frame = runs_frame(store, f"full-{size}")
    assert list(frame["status"]) == ["FINISHED"]
    assert "tags.failure" not in frame or frame["tags.failure"].isna().all()


@pytest.mark.parametrize("what", ["checkpoint", "result"])
def test_the_library_alone_says_so_in_one_line_and_goes_on(
    disk: SmallDisk, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trial.json").write_text(json.dumps(config().to_dict()))
    arguments = ["--config", str(tmp_path / "trial.json"), "--out", str(disk.path / "out.json")]
    folder = disk.path if what == "checkpoint" else tmp_path
    arguments += ["--checkpoint-dir", str(folder / "checkpoints"), "--threads", "1"]
    full = disk.fill()
    assert main(arguments) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("hcl: [Errno 28] No space left on device") and "goes on" in last
    assert not list(disk.path.glob("*out.json*"))
    full.unlink()
    assert main(arguments) == 0
    assert json.loads((disk.path / "out.json").read_text())["accuracy"] == run(config()).accuracy


def test_a_start_that_finds_no_space_for_sweep_json_leaves_no_run_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = parse(parse_yaml(text_of([GOOD])), NAME)
    with small_disk(tmp_path / "disk", "10m") as disk:
        request = SweepRequest(space, SweepFolder(disk.path, NAME))
        start_sweep = resume.start_sweep

        def start_then_fill(*arguments: Any) -> str:
            run_id = start_sweep(*arguments)
            disk.fill()
            return run_id

        monkeypatch.setattr(resume, "start_sweep", start_then_fill)
        with pytest.raises(OSError, match="No space left") as caught:
            resume.record_start(request)
        assert statuses(disk.path) == {NAME: "KILLED"}
        said = str(explain_error(request, caught.value))
        assert said.startswith(f"no space left on device: {request.folder.path}; nothing is lost")
        (disk.path / "filler").unlink()
        monkeypatch.undo()
        resume.record_start(request)
        assert statuses(disk.path) == {NAME: "RUNNING"}


def statuses(storage: Path) -> dict[str, str]:
    """Run's name -> status of every run in MLflow's file."""
    with closing(sqlite3.connect(storage / "mlflow.db")) as database:
        return dict(database.execute("select name, status from runs"))


# --- whole sweeps ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_trial_without_space_fails_and_the_same_command_finishes_it_later(
    files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    with small_disk(SweepFolder(storage, NAME).seed_folder(1, 1).parent, "16k") as disk:
        out = finish(start(files, storage), status=1)
        reason = f"seed 1: no space left on device: {disk.path / 'seed_1'}"
        assert f"trial 1 failed: {reason}" in out.splitlines()
        assert out.splitlines()[-1] == "4 of 4 trials ended, 1 of them failed"
        check_failed(storage, 1, reason)
        check_same(storage, undisturbed, but=(1,))
        disk.resize("10m")
        finish(start(files, storage))
        check_whole(storage)
        check_same(storage, undisturbed)


def check_failed(storage: Path, number: int, reason: str) -> None:
    trials = study_trials(storage)
    failed = [t.number for t in trials if t.state == TrialState.FAIL]
    assert len(trials) == 4 and failed == [number]
    assert trials[number].user_attrs["reason"] == reason
    frame = runs(storage).set_index("tags.trial")
    assert len(frame) == 4 and frame["status"].to_dict() == {
        n: "FAILED" if n == number else "FINISHED" for n in range(4)
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_storage_that_is_full_ends_the_sweep_in_order_and_it_goes_on(
    files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "storage", "40m") as disk:
        process = start(files, disk.path)
        wait_for(lambda: rows_of(disk.path, 1) >= 1)
        full = disk.fill()
        out, err = process.communicate(timeout=300)
        assert process.returncode in (1, 2) and "Traceback" not in out + err, out + err
        assert "no space left on device" in (out + err).splitlines()[-1]
        full.unlink()
        finish(start(files, disk.path))
        check_whole(disk.path)
        check_same(disk.path, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", ["1100k", "1300k", "1600k", "1850k"])
def test_a_sweep_in_too_little_space_says_so_and_leaves_nothing_running(
    size: str, files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "storage", size) as disk:
        process = start(files, disk.path)
        out, err = process.communicate(timeout=300)
        assert process.returncode in (1, 2) and "Traceback" not in out + err, out + err
        assert "no space left on device" in out + err, out + err
        if (disk.path / "mlflow.db").exists():
            assert "RUNNING" not in statuses(disk.path).values(), out + err
        assert SweepFolder(disk.path, NAME).read_info().get("status") != "RUNNING"
        disk.resize("40m")
        finish(start(files, disk.path))
        check_whole(disk.path)
        check_same(disk.path, undisturbed)
