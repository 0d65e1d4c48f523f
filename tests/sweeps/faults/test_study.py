"""A study whose database is busy, and one whose failed trials are tried again."""

import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from journals import start_fields
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from whole_sweeps import GOOD, NAME, text_of

from hcl.config import ConfigError
from sweeps.launch.request import SweepRequest
from sweeps.launch.resume import make_search, reopen_failed
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.space.search_space import parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.study.searcher import OptunaSearch
from sweeps.study.storage import open_storage
from sweeps.study.study import open_study

pytestmark = pytest.mark.timeout(60)  # the first one imports Ray


def search(folder: SweepFolder) -> OptunaSearch:
    space = parse(parse_yaml(text_of([GOOD] * 4)), NAME).with_sweep(num_trials=4)
    folder.path.mkdir(parents=True, exist_ok=True)
    return OptunaSearch(space, NAME, folder.study_url)


def test_a_locked_database_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "study.db"
    study = optuna.create_study(storage=open_storage(f"sqlite:///{file}?timeout=0.05"))
    other = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(1.0, other.rollback)
    release.start()
    try:
        began = time.monotonic()
        trial = study.ask()
        study.tell(trial.number, 1.0)
        assert time.monotonic() - began > 0.9
    finally:
        release.join()
        other.close()
    assert [t.state for t in study.trials] == [TrialState.COMPLETE]
    assert caplog.text.count("does not answer") == caplog.text.count("answers again") == 1


def test_a_damaged_database_is_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    study = optuna.create_study(storage=open_storage(f"sqlite:///{file}"))
    file.write_bytes(b"no database")
    began = time.monotonic()
    with pytest.raises(StorageInternalError):
        study.ask()
    assert time.monotonic() - began < 5


def failed(searcher: OptunaSearch, name: str, reason: str, **record: Any) -> int:
    """End a trial with an error, and write what its journal says about it."""
    suggestion = searcher.suggest(name)
    assert isinstance(suggestion, dict)
    folder = SweepFolder(Path(searcher.storage_url.removeprefix("sqlite:///")).parents[2], NAME)
    journal = Journal(folder.seed_folder(suggestion["number"], 1))
    journal.append("start", **start_fields(f"{NAME}/{suggestion['number']:04d}/seed_1"))
    if record:
        journal.append("failed", reason=reason, **record)
    searcher.on_trial_result(name, {"objective": 0.5, "tasks_learned": 1, "num_tasks": 3})
    report = {"objective": float("nan"), "tasks_learned": 1, "num_tasks": 3, "failure": reason}
    searcher.on_trial_complete(name, report)
    return suggestion["number"]


def test_the_next_start_tries_again_what_may_end_differently(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, NAME)
    assert reopen_failed(folder, f"sqlite:///{tmp_path}/none.db") == []
    searcher = search(folder)
    diverged = failed(searcher, "a", "the loss is nan", again=False)
    full = failed(searcher, "b", "no space left on device", again=True)
    unwritten = failed(searcher, "c", "no space left on device")  # no space for this either
    before = {trial.number: trial for trial in searcher.study.trials}
    assert searcher.remaining() == 1 and len(before) == 4

    assert reopen_failed(folder, folder.study_url) == [full, unwritten]
    again = search(folder)
    assert again.remaining() == 3
    given = [again.suggest(name) for name in ("d", "e", "f")]
    numbers = [suggestion["number"] for suggestion in given if isinstance(suggestion, dict)]
    assert numbers == [full, unwritten, 3]
    for trial in again.study.trials[:3]:
        assert trial.params == before[trial.number].params
        assert trial.intermediate_values == {1: 0.5}
        is_failed = trial.number == diverged
        assert trial.state == (TrialState.FAIL if is_failed else TrialState.RUNNING)
        assert (trial.user_attrs.get("reason") is not None) == is_failed
    end = {"objective": 0.9, "tasks_learned": 3, "num_tasks": 3}
    again.on_trial_complete("d", end)
    assert again.study.trials[full].value == 0.9
    assert reopen_failed(folder, folder.study_url) == []  # one runs, one is done


def test_another_search_is_refused_before_any_trial_is_touched(tmp_path: Path) -> None:
    space = parse(parse_yaml(text_of([GOOD])), NAME).with_sweep(num_trials=1)
    request = SweepRequest(space, SweepFolder(tmp_path, NAME))
    request.folder.path.mkdir(parents=True)
    failed(make_search(request, (64,)), "a", "no space left on device", again=True)
    request.folder.write_space(space.to_dict())
    other = parse(parse_yaml(text_of([GOOD], iterations=11)), NAME)
    with pytest.raises(ConfigError, match="started with another trial"):
        make_search(replace(request, space=other), (64,))
    (trial,) = open_study(space, NAME, request.folder.study_url).trials
    assert trial.state == TrialState.FAIL and "reason" in trial.user_attrs
    assert make_search(request, (64,)).remaining() == 1
