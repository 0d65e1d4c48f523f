"""Whole sweeps on real Ray, Optuna and MLflow: they run, go on, fail, are killed, are stopped."""

import gc
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import ray
from optuna.trial import TrialState
from rich.console import Console
from whole_sweeps import (
    DIVERGING,
    GOOD,
    NAME,
    check_same,
    check_whole,
    finish,
    is_alive,
    records_of,
    results,
    rows_of,
    runs,
    session_of,
    start,
    study_trials,
    text_of,
    trainer_of,
    wait_for,
)

from hcl.config import ConfigError
from sweeps import tracking
from sweeps.launch.outcome import Outcome
from sweeps.launch.request import SweepRequest, store_of
from sweeps.launch.run_sweep import run_sweep
from sweeps.records.folder import SweepFolder, git_tags
from sweeps.space.search_space import SearchSpace, parse
from sweeps.space.yaml_file import parse_yaml

# Ray and MLflow leave sockets and event loops to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def space(points: list[str], **sweep: Any) -> SearchSpace:
    return parse(parse_yaml(text_of(points)), NAME).with_sweep(**sweep)


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """Start one Ray for all sweeps of this process, which leave a running one alone."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    with warnings.catch_warnings():
        # Ray drops the handles of its processes; the warning shall come here, not at pytest's end.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def sweep(folder: Path, used: SearchSpace, **more: Any) -> tuple[Outcome, str]:
    out = StringIO()
    request = SweepRequest(used, SweepFolder(folder, NAME), **more)
    return run_sweep(request, Console(file=out, width=200)), out.getvalue()


# --- in one process ----------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_a_sweep_runs_is_recorded_goes_on_and_survives_a_failure(
    tmp_path: Path, ray_here: None
) -> None:
    used = space([GOOD] * 3 + [DIVERGING, GOOD], seeds=[1, 2])
    outcome, shown = sweep(tmp_path, used, command="hcl sweep tiny.yaml")
    assert (outcome.exit_code, outcome.num_trials, outcome.undelivered) == (0, 3, 0)
    assert "3/3 trials done, best " in shown

    # The objective of a trial is the mean over its seeds.
    found, trials = results(tmp_path), study_trials(tmp_path)[:3]
    assert len(found) == 6 and [t.state for t in trials] == [TrialState.COMPLETE] * 3
    for trial in trials:
        seeds = [found[f"sweeps/{NAME}/trials/{trial.number:04d}/seed_{s}"] for s in (1, 2)]
        values = [seed["metrics"]["val/task/average_accuracy"] for seed in seeds]
        assert trial.value == pytest.approx(sum(values) / 2, abs=1e-12)
        assert sorted(trial.intermediate_values) == [1, 2, 3]
        for seed in seeds:
            assert seed["config"]["method/beta"] == trial.params["method/beta"]
    assert outcome.best[0]["value"] == max(t.value for t in trials if t.value is not None)

    check_mlflow_of_three_trials(tmp_path)

    # A second start finds nothing to do.
    outcome, _ = sweep(tmp_path, used)
    assert outcome.num_trials == 3 and len(runs(tmp_path)) == 6

    # Two more: the one that diverges fails with its reason, and the sweep goes on.
    outcome, shown = sweep(tmp_path, used.with_sweep(num_trials=5))
    assert (outcome.exit_code, outcome.num_trials) == (1, 5)
    assert list(outcome.failed) == [3] and outcome.failed[3].startswith("seed 1: the ")
    assert "trial 3 failed: seed 1: the " in shown
    states = [t.state for t in study_trials(tmp_path)]
    assert states == [TrialState.COMPLETE] * 3 + [TrialState.FAIL, TrialState.COMPLETE]
    statuses = runs(tmp_path).groupby("tags.trial")["status"].apply(list).to_dict()
    assert statuses[3] == ["FAILED"] and statuses[4] == ["FINISHED"] * 2

    # Earlier results are unchanged.
    again = results(tmp_path)
    assert {where: again[where] for where in found} == found
    info = SweepFolder(tmp_path, NAME).read_info()
    assert info["status"] == "FINISHED"
    assert info.get("git_commit") == git_tags().get("git_commit")


def check_mlflow_of_three_trials(storage: Path) -> None:
    """Check that MLflow has one run per seed, under the sweep's own."""
    frame = runs(storage)
    assert len(frame) == 6 and set(frame["status"]) == {"FINISHED"}
    assert (frame["tasks_learned"] == frame["num_tasks"]).all()
    assert frame.groupby("tags.config_id")["run_id"].count().tolist() == [2, 2, 2]
    settings = tracking.sweep_settings(store_of(SweepFolder(storage, NAME), None), NAME)
    assert settings["command"] == "hcl sweep tiny.yaml"
    assert settings["sweep/objective"] == "val/task/average_accuracy"


# --- refused before the first trial ------------------------------------------------------------


def test_a_second_driver_of_the_same_sweep_is_refused(tmp_path: Path) -> None:
    words = f"being run by process {os.getpid()}; wait for it"
    with SweepFolder(tmp_path, NAME).lock(), pytest.raises(ConfigError, match=words):
        sweep(tmp_path, space([GOOD]))


def test_a_server_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="127.0.0.1:9 cannot be used") as caught:
        sweep(tmp_path, space([GOOD]), tracking_uri="http://me:secret@127.0.0.1:9")
    assert len(caught.value.errors) == 1 and "secret" not in str(caught.value)
    with SweepFolder(tmp_path, NAME).lock():  # it was given back
        pass


def test_another_study_than_at_the_start_is_refused(tmp_path: Path) -> None:
    SweepFolder(tmp_path, NAME).write_info(study_url=None)
    url = f"sqlite:///{tmp_path}/other.db"
    with pytest.raises(ConfigError, match="use the same --study-url or another --name"):
        sweep(tmp_path, space([GOOD]), study_url=url)


def test_damaged_data_are_reported_before_any_trial(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "mnist.npz").write_bytes(b"not a zip file")
    text = text_of([GOOD]).replace("split_digits", "split_mnist")
    with pytest.raises(ConfigError, match="mnist.npz"):
        sweep(tmp_path, parse(parse_yaml(text), NAME), data_root=str(data))
    assert not (tmp_path / "sweeps").exists()


# --- killed and interrupted: the command as a process of its own -------------------------------


def tear_newest_checkpoint(storage: Path, trial: int) -> None:
    """Cut a checkpoint, as after a power cut on a disk that lies about what it has written."""
    folder = SweepFolder(storage, NAME).seed_folder(trial, 1) / "checkpoints"
    newest = sorted(folder.glob("[0-9]*.pt"))[-1]
    os.truncate(newest, newest.stat().st_size // 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_killed_sweep_goes_on_to_the_same_matrices(
    files: Path, undisturbed: Path, tmp_path: Path, torn: bool
) -> None:
    process = start(files, tmp_path)
    wait_for(lambda: rows_of(tmp_path, 2) >= 1)  # trial 2 is under way: 0 or 1 is done
    trainer = trainer_of(tmp_path, 2)
    process.kill()
    process.communicate()
    wait_for(lambda: not is_alive(trainer))  # Ray ends its workers with their driver
    before, finished = study_trials(tmp_path), results(tmp_path)
    assert any(t.state == TrialState.RUNNING for t in before)
    assert any(t.state == TrialState.COMPLETE for t in before)
    if torn:
        tear_newest_checkpoint(tmp_path, 2)

    finish(start(files, tmp_path, "--resume"))
    check_whole(tmp_path)
    check_same(tmp_path, undisturbed)
    after, again = study_trials(tmp_path), results(tmp_path)
    begun = [t for t in before if t.state != TrialState.WAITING]
    # What was chosen stays; a trial may have been killed before all of it was.
    assert all(t.params.items() <= after[t.number].params.items() for t in begun)
    assert {where: again[where] for where in finished} == finished


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_in_order_and_says_how_to_go_on(
    files: Path, undisturbed: Path, tmp_path: Path, number: int
) -> None:
    process = start(files, tmp_path)
    wait_for(lambda: rows_of(tmp_path, 0) >= 1)
    if number == signal.SIGINT:  # Ctrl-C reaches the whole group, as from a terminal
        os.killpg(process.pid, number)
    else:  # schedulers of clusters end the driver
        process.send_signal(number)
    # Ray's C++ part says "SIGTERM received", and aborts a stop of more than three seconds.
    out = finish(process, status=130, unsaid=("Traceback", "SIGTERM received"))
    assert "stopping cleanly, up to 15 s; Ctrl-C again stops now" in out
    last = out.splitlines()[-1]
    assert last.startswith("interrupted, ") and last.endswith("--resume")
    statuses = set(runs(tmp_path)["status"])
    assert "RUNNING" not in statuses and "KILLED" in statuses
    assert TrialState.RUNNING in [t.state for t in study_trials(tmp_path)]
    finish(start(files, tmp_path))
    check_whole(tmp_path)
    check_same(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_time_limit_stops_in_order_and_the_same_command_goes_on(
    files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    began = time.monotonic()
    process = start(files, tmp_path, "--stop-after", "2m")
    wait_for(lambda: rows_of(tmp_path, 0) >= 1)
    trainer = trainer_of(tmp_path, 0)
    os.kill(trainer, signal.SIGSTOP)  # it must not end before the time is over
    time.sleep(max(0.0, began + 125 - time.monotonic()))
    os.kill(trainer, signal.SIGCONT)
    out = finish(process, status=4)
    assert "the time of --stop-after is over; stopping cleanly, up to 15 s" in out
    assert "stops in " in out
    last = out.splitlines()[-1]
    assert last.startswith("the time of --stop-after is over, ") and "--stop-after 2m" in last
    statuses = set(runs(tmp_path)["status"])
    assert "RUNNING" not in statuses and "KILLED" in statuses
    finish(start(files, tmp_path, "--stop-after", "1h"))
    check_whole(tmp_path)
    check_same(tmp_path, undisturbed)

    words = ("confirm", NAME, "--seeds", "11", "--storage", str(tmp_path), "--stop-after", "1s")
    command = [sys.executable, "-m", "sweeps.cli", *words]
    stopped = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert stopped.returncode == 4, stopped.stdout + stopped.stderr
    assert stopped.stdout.endswith("is over; go on with the same command\n")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seconds", [0, 1, 2, 4])
def test_a_signal_while_ray_starts_stops_in_order(
    files: Path, tmp_path: Path, seconds: int
) -> None:
    process = start(files, tmp_path)
    wait_for(lambda: (SweepFolder(tmp_path, NAME).path / "sweep.json").exists())
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    out = finish(process, status=130)
    assert out.splitlines()[-1].startswith("interrupted, ")
    assert "RUNNING" not in set(runs(tmp_path)["status"])
    assert SweepFolder(tmp_path, NAME).read_info()["status"] != "RUNNING"
    # Two helpers of Ray notice the end of their node process after a minute.
    wait_for(lambda: not session_of(process.pid), seconds=150)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_trial_whose_process_dies_is_retried_from_its_checkpoint(
    files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    process = start(files, tmp_path)
    wait_for(lambda: rows_of(tmp_path, 0) >= 1)
    os.kill(trainer_of(tmp_path, 0), signal.SIGKILL)
    finish(process)
    check_whole(tmp_path)
    check_same(tmp_path, undisturbed)
    kinds = [record["kind"] for record in records_of(tmp_path, 0)]
    assert "resume" in kinds and kinds.count("start") == 1 and kinds[-1] == "end"
