"""Restarts of the real PostgreSQL that holds a sweep's study and MLflow runs."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from postgres import Postgres, running_postgres
from servers import Server
from whole_sweeps import check_same, check_whole, finish, rows_of, start, wait_for

from hcl.config import ConfigError
from sweeps.launch.resume import reopen_failed
from sweeps.records.folder import SweepFolder
from sweeps.study.storage import PatientStorage, open_storage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        for database in ("mlflow", "optuna", "many"):
            postgres.query("postgres", f"CREATE DATABASE {database}")
        yield postgres


def test_every_change_of_a_study_is_made_once_however_often_it_restarts(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(study_name="many", storage=open_storage(postgres.url("many")))
    is_over = threading.Event()

    def restart() -> None:
        while not is_over.wait(1.0):
            postgres.restart()

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        for number in range(25):
            trial = study.ask()
            assert trial.number == number
            x = trial.suggest_float("x", 0, 1)
            trial.set_user_attr("ray_trial_id", str(number))
            for step in (1, 2, 3):
                trial.report(x * step, step)
            study.tell(trial.number, x)
    finally:
        is_over.set()
        thread.join()
    assert "does not answer" in caplog.text and "answers again" in caplog.text
    trials = optuna.load_study(study_name="many", storage=postgres.url("many")).trials
    assert [t.number for t in trials] == list(range(25))
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    for trial in trials:
        x = trial.params["x"]
        assert trial.value == x and trial.intermediate_values == {1: x, 2: 2 * x, 3: 3 * x}
        assert trial.user_attrs == {"ray_trial_id": str(trial.number)}


def test_a_database_that_stays_away_is_named_and_asked_no_longer(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientStorage, "patience", 1.0)
    study = optuna.create_study(study_name="away", storage=open_storage(postgres.url("many")))
    postgres.stop()
    try:
        with pytest.raises(ConfigError, match="does not answer any more; nothing is lost"):
            study.ask()
        began = time.monotonic()
        with pytest.raises(ConfigError):
            study.ask()
        assert time.monotonic() - began < 1
    finally:
        postgres.start()
    assert len(study.trials) == 0


def test_a_failed_trial_is_tried_again_here_too(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url("many")
    study = optuna.create_study(study_name="again", storage=open_storage(url))
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    trial.set_user_attr("ray_trial_id", "a")
    trial.set_user_attr("reason", "no space left on device")
    study.tell(trial.number, state=TrialState.FAIL)
    folder = SweepFolder(tmp_path, "again")
    assert reopen_failed(folder, url) == [0]
    again = optuna.load_study(study_name="again", storage=url)
    (opened,) = again.trials
    assert opened.state == TrialState.WAITING and opened.params == trial.params
    assert opened.user_attrs == {"ray_trial_id": "a", "reason": None}
    assert reopen_failed(folder, url) == []
    taken_up = again.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    assert (taken_up.number, taken_up.params) == (0, trial.params)
    again.tell(taken_up.number, 0.5)
    (ended,) = again.trials
    assert (ended.state, ended.value) == (TrialState.COMPLETE, 0.5)
    assert ended.datetime_start > opened.datetime_complete
    assert ended.datetime_complete > ended.datetime_start


def test_a_sweep_outlives_restarts_of_its_database(
    postgres: Postgres, files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    storage, study = tmp_path / "storage", postgres.url("optuna")
    server = Server(tmp_path, postgres.url("mlflow"))
    server.start()
    try:
        sweep = start(files, storage, "--tracking-uri", server.uri, HCL_STUDY_URL=study)
        for number in (0, 1, 2, 3):
            wait_for(lambda number=number: rows_of(storage, number) >= 1)
            postgres.restart()
        out = finish(sweep)
        assert out.splitlines()[-1] == "4 of 4 trials ended"
        check_whole(storage, server.uri, study)
        check_same(storage, undisturbed, url=study)
    finally:
        server.kill()
