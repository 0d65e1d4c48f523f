"""Whole sweeps in processes of their own: start them, watch them, read what they leave."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeps import tracking
from sweeps.launch.request import store_of
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal

NAME = "tiny"
TEXT = """
description: tiny
trial:
  benchmark: {name: split_digits, num_tasks: 3, val_fraction: 0.2}
  target: {hidden_sizes: [8]}
  method: {name: hnet, hidden_sizes: [4], chunk_size: 100, embedding_size: 4}
  train: {iterations: ITERATIONS, batch_size: 16}
search:
  method/beta: {type: float, low: 1e-4, high: 1.0, log: true}
  method/chunk_embedding_size: {type: int, low: 2, high: 8, step: 2}
  train/lr: {type: float, low: 1e-4, high: 1e+30, log: true}
points_to_evaluate: POINTS
sweep: {num_trials: 3, sampler: random, max_concurrent_trials: 2, checkpoint_every: 20}
"""
GOOD = "{train/lr: 0.01}"
DIVERGING = "{train/lr: 1e+29}"


def text_of(points: list[str], iterations: int = 10) -> str:
    """Write a search space of three parameters; what a point leaves out is sampled."""
    text = TEXT.replace("ITERATIONS", str(iterations))
    return text.replace("POINTS", "[" + ", ".join(points) + "]")


# --- the command -------------------------------------------------------------------------------


def start(folder: Path, storage: Path, *options: str, **env: str) -> subprocess.Popen[str]:
    """Start `hcl sweep FOLDER/tiny.yaml` of four trials, in a process group of its own."""
    command = [sys.executable, "-m", "sweeps.cli", "sweep", str(folder / f"{NAME}.yaml")]
    command += ["--num-trials", "4", "--storage", str(storage), *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env=os.environ | env,
    )


def finish(
    process: subprocess.Popen[str],
    status: int = 0,
    seconds: float = 800,
    unsaid: Sequence[str] = ("Traceback",),
) -> str:
    """Wait for its end, check exit status and that no stack trace is shown; return its output."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"it did not end in {seconds} s\n{out}{err}") from None
    assert process.returncode == status, out + err
    assert not any(words in out + err for words in unsaid), out + err
    return out


def wait_for(condition: Callable[[], Any], seconds: float = 200) -> None:
    """Wait until the condition holds.

    Raises:
        AssertionError: it does not hold after this time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


# --- under way ---------------------------------------------------------------------------------


def records_of(storage: Path, trial: int) -> list[dict[str, Any]]:
    """Read the journal of a trial's only seed."""
    return Journal(SweepFolder(storage, NAME).seed_folder(trial, 1)).records()


def rows_of(storage: Path, trial: int) -> int:
    """Count the tasks that a trial has reported."""
    return sum(record["kind"] == "task" for record in records_of(storage, trial))


def trainer_of(storage: Path, trial: int) -> int:
    """Return the process that trains a trial."""
    return int((SweepFolder(storage, NAME).seed_folder(trial, 1) / ".lock").read_text())


def parent_of(pid: int) -> int:
    """Return a process's parent; a worker's is the raylet, which is a node of Ray."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def child_of(pid: int, name: str) -> int:
    """Number of the child of a process that runs this program."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            child, _, rest = stat.read_text().partition(" (")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since
        program, _, fields = rest.rpartition(") ")
        if program == name and int(fields.split()[1]) == pid:
            return int(child)
    raise AssertionError(f"{pid} has no child {name}")


def session_of(leader: int) -> list[str]:
    """Name the processes of a session that still run, but for its leader."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            name, _, fields = stat.read_text().partition("(")[2].rpartition(")")
            state, _, _, session = fields.split()[:4]
            if session == str(leader) and stat.parent.name != str(leader) and state != "Z":
                found.append(name)
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process runs and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- what is left ------------------------------------------------------------------------------


def study_trials(storage: Path, url: str | None = None) -> list[FrozenTrial]:
    """Read all trials of the study."""
    url = url or SweepFolder(storage, NAME).study_url
    return optuna.load_study(study_name=NAME, storage=url).trials


def runs(storage: Path, tracking_uri: str | None = None) -> Any:
    """Read MLflow's runs of the sweep, one row each."""
    return tracking.runs_frame(store_of(SweepFolder(storage, NAME), tracking_uri), NAME)


def results(storage: Path) -> dict[str, Any]:
    """Read every result.json, by the folder of its seed."""
    found = sorted((storage / "sweeps" / NAME / "trials").rglob("result.json"))
    return {str(p.parent.relative_to(storage)): json.loads(p.read_text()) for p in found}


def matrices(storage: Path) -> dict[str, Any]:
    """Read the accuracy matrices on disk, by the folder of their seed."""
    return {where: result["accuracy"] for where, result in results(storage).items()}


def mlflow_matrices(storage: Path, tracking_uri: str | None = None) -> dict[str, Any]:
    """Read the accuracy matrices that MLflow has, like `matrices`."""
    store = store_of(SweepFolder(storage, NAME), tracking_uri)
    frame = tracking.runs_frame(store, NAME)
    return {
        f"sweeps/{NAME}/trials/{row['tags.trial']:04d}/seed_{row['tags.seed']}":
            tracking.accuracy_matrices(store, row["run_id"])
        for _, row in frame.iterrows()
    }  # fmt: skip


def check_whole(storage: Path, tracking_uri: str | None = None, url: str | None = None) -> None:
    """Check that four trials were trained, reported and recorded exactly once."""
    trials = study_trials(storage, url)
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 4
    frame = runs(storage, tracking_uri)
    assert len(frame) == 4 and set(frame["status"]) == {"FINISHED"}
    assert sorted(frame["tags.trial"]) == [0, 1, 2, 3]
    assert all(sorted(t.intermediate_values) == [1, 2, 3] for t in trials)
    assert mlflow_matrices(storage, tracking_uri) == matrices(storage)


def check_same(
    storage: Path, undisturbed: Path, but: tuple[int, ...] = (), url: str | None = None
) -> None:
    """Check that matrices and values are equal to the bit, except those of some failed trials."""
    theirs = {
        where: found
        for where, found in matrices(undisturbed).items()
        if not any(f"/{number:04d}/" in where for number in but)
    }
    assert matrices(storage) == theirs
    mine = {t.number: t for t in study_trials(storage, url) if t.number not in but}
    for trial in study_trials(undisturbed):
        if trial.number not in but:
            assert mine[trial.number].params == trial.params
            assert mine[trial.number].value == trial.value
