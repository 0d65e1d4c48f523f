"""A trial stopped anywhere and started again equals one that never stopped, to the bit."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ITERATIONS, VARIANTS, assert_same, go, trial, variant

from hcl.__main__ import main
from hcl.config import ConfigError
from hcl.results import Progress, Result, TaskReport
from hcl.storage import checkpoint

EVERY = 4  # steps between checkpoints: one inside each task of ITERATIONS


class Stop(Exception):
    """Raised where a test stops the trial."""


def stop_in_task(task_id: int) -> Any:
    """Make a progress callback that stops after a task's last step, before `end_task`."""

    def callback(progress: Progress) -> None:
        if progress.task_id == task_id:
            raise Stop

    return callback


def stop_after_task(task_id: int) -> Any:
    """Make a report callback that stops before the task's checkpoint is written."""

    def callback(report: TaskReport) -> None:
        if report.task_id == task_id:
            raise Stop

    return callback


def numbers(folder: Path) -> list[int]:
    return [int(path.stem) for path in sorted(folder.glob("*.pt"))]


def assert_same_end(one: tuple[Result, Path], other: tuple[Result, Path]) -> None:
    assert (one[0].accuracy, one[0].inference) == (other[0].accuracy, other[0].inference)
    states = [checkpoint.load_latest(folder) for _, folder in (one, other)]
    for state in states:
        assert state is not None
        del state["seconds"], state["train_seconds"]
    assert_same(*states)


@pytest.mark.parametrize("name", VARIANTS)
def test_resumed_equals_never_stopped(name: str, tmp_path: Path) -> None:
    config, steady, torn = variant(name), tmp_path / "steady", tmp_path / "torn"
    straight = go(config, steady)
    # Inside task 0, after task 1's evaluation, and inside task 2; each time by a fresh process.
    for stop in (
        {"progress": stop_in_task(0)},
        {"report": stop_after_task(1)},
        {"progress": stop_in_task(2)},
    ):
        with pytest.raises(Stop):
            go(config, torn, EVERY, **stop)
        assert numbers(torn)[-1] % ITERATIONS == EVERY
        torch.manual_seed(5)  # what the process drew meanwhile does not matter
    assert_same_end((straight, steady), (go(config, torn, EVERY), torn))


@pytest.mark.parametrize("name", VARIANTS)
def test_resumed_at_a_task_boundary_equals_never_stopped(name: str, tmp_path: Path) -> None:
    config, steady, torn = variant(name), tmp_path / "steady", tmp_path / "torn"
    straight = go(config, steady)
    with pytest.raises(Stop):
        go(config, torn, progress=stop_in_task(2))
    assert numbers(torn) == [ITERATIONS, 2 * ITERATIONS]
    assert_same_end((straight, steady), (go(config, torn), torn))


@pytest.mark.parametrize("scenario", ["domain", "class"])
def test_inferred_tasks_survive_a_restart(scenario: str, tmp_path: Path) -> None:
    config = trial("hnet", scenario)
    with pytest.raises(Stop):
        go(config, tmp_path / "torn", EVERY, progress=stop_in_task(2))
    resumed = go(config, tmp_path / "torn", EVERY)
    steady = go(config, tmp_path / "steady")
    assert_same_end((steady, tmp_path / "steady"), (resumed, tmp_path / "torn"))
    assert [len(row) for row in resumed.inference[f"test/{scenario}"]] == [1, 2, 3]


def test_a_row_may_come_twice_but_is_never_missing(tmp_path: Path) -> None:
    config = trial("finetune")
    rows: list[TaskReport] = []

    def record_and_stop(report: TaskReport) -> None:
        rows.append(report)
        if len(rows) == 2:
            raise Stop

    with pytest.raises(Stop):
        go(config, tmp_path, EVERY, report=record_and_stop)
    go(config, tmp_path, EVERY, report=rows.append)
    assert [row.tasks_learned for row in rows] == [1, 2, 2, 3]
    assert rows[1].metrics == rows[2].metrics


def test_a_finished_trial_is_not_trained_again(tmp_path: Path) -> None:
    config = trial("si")
    reports: list[TaskReport] = []
    first = go(config, tmp_path, report=reports.append)
    again = go(config, tmp_path, report=stop_after_task(2), progress=stop_in_task(2))
    assert (first.accuracy, first.config) == (again.accuracy, again.config)
    assert again.metrics["wall_seconds"] >= reports[-1].seconds


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "flipped"])
def test_a_damaged_newest_checkpoint_costs_only_time(damage: str, tmp_path: Path) -> None:
    config, steady, torn = variant("hnet-subset"), tmp_path / "steady", tmp_path / "torn"
    with pytest.raises(Stop):
        go(config, torn, EVERY, progress=stop_in_task(2))
    newest = sorted(torn.glob("*.pt"))[-1]
    content = newest.read_bytes()
    newest.write_bytes(
        {
            "truncated": content[: len(content) // 2],
            "empty": b"",
            "garbage": b"\x80" + bytes(range(256)) * 8,
            "flipped": _flip(content, len(content) // 2),  # still reads, as other numbers
        }[damage]
    )
    with pytest.warns(UserWarning, match=f"skipping unreadable checkpoint .*{newest.name}"):
        resumed = go(config, torn, EVERY)
    assert_same_end((go(config, steady), steady), (resumed, torn))


def _flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :]


def test_checkpoints_of_another_trial_are_refused(tmp_path: Path) -> None:
    go(trial("finetune"), tmp_path)
    for other in (trial("finetune", seed=2), trial("si"), trial("finetune", train__lr=0.02)):
        with pytest.raises(ConfigError, match="are of another trial .*use another folder") as e:
            go(other, tmp_path)
        assert len(e.value.errors) == 1 and str(tmp_path) in str(e.value)
    go(trial("finetune", train__eval_batch_size=7), tmp_path)  # not part of what a trial is


@pytest.mark.timeout(120)
def test_sigkilled_mid_task_and_restarted(tmp_path: Path) -> None:
    """A killed process, started again, has the results of an undisturbed run."""
    iterations = 80
    config = variant("hnet-subset", train__iterations=iterations, eval_scenarios=["task", "class"])
    out, folder, file = (tmp_path / name for name in ("result.json", "checkpoints", "trial.json"))
    file.write_text(json.dumps(config.to_dict()))
    args = ["--config", str(file), "--out", str(out), "--threads", "1"]
    args += ["--checkpoint-dir", str(folder), "--checkpoint-every", "8"]
    process = subprocess.Popen([sys.executable, "-m", "hcl", *args], cwd=Path(__file__).parents[2])
    try:
        # In the third task, where a random past task is regularized in every step.
        while max(numbers(folder), default=0) <= 2 * iterations:
            assert process.poll() is None, "the process ended before it could be killed"
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not out.exists()
    assert 2 * iterations < numbers(folder)[-1] < 3 * iterations
    assert main(args) == 0  # in another process than the one that died
    written, undisturbed = json.loads(out.read_text()), go(config).to_dict()
    for values in (written, undisturbed):
        for timing in ("wall_seconds", "steps_per_second"):
            del values["metrics"][timing]
    assert written == undisturbed


@pytest.mark.parametrize("spoil", ["a tensor more", "a key less", "another shape"])
def test_checkpoints_of_another_version_are_refused(tmp_path: Path, spoil: str) -> None:
    config = trial("hnet")
    go(config, tmp_path)
    state = checkpoint.load_latest(tmp_path)
    assert state is not None
    extra = state["method"]["_extra_state"]["task_hypernet"]
    if spoil == "a tensor more":
        extra["optimizer"]["first"].append(torch.zeros(2))
    elif spoil == "a key less":
        del extra["task_subsets"]
    else:
        state["method"]["task_hypernet.hypernet.output"] = torch.zeros(3, 3)
    checkpoint.save(tmp_path, 99_999, state)
    with pytest.raises(ConfigError, match="by another version of hcl; finish the trial") as error:
        go(config, tmp_path)
    assert "\n" not in str(error.value)
