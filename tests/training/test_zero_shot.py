"""Tasks that are scored before they are learned (`train/zero_shot`)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, build, errors_of, go, trial

from hcl import metrics
from hcl.results import Progress, TaskReport
from hcl.storage import checkpoint

ASKED: dict[str, Any] = {"train__zero_shot": True}


class Stop(Exception):
    """Raised where a test stops the trial."""


@pytest.mark.parametrize("method", ["finetune", "er", "hnet", "hnet_tir", "joint"])
def test_nothing_else_changes(method: str) -> None:
    asked, plain = go(trial(method, "domain", **ASKED)), go(trial(method, "domain"))
    assert asked.accuracy == plain.accuracy and asked.inference == plain.inference
    assert asked.unlearned and not plain.unlearned
    assert_same(asked.learner.method.state_dict(), plain.learner.method.state_dict())


def test_later_tasks_are_scored_by_the_shared_outputs() -> None:
    """Score each input by hand in the middle of the sequence, and the two transfers too."""
    reports: list[TaskReport] = []
    result = go(trial("finetune", "domain", **ASKED), report=reports.append)
    rows = result.unlearned["test/domain"]
    assert [len(row) for row in rows] == [2, 1]
    for t, row in enumerate(rows):
        named = {f"test/domain/zero_shot/task_{t + 1 + i:02d}": v for i, v in enumerate(row)}
        assert named.items() <= reports[t].metrics.items()
    assert not any("zero_shot" in name for name in reports[-1].metrics)
    (a00,), (a10, a11), (a20, a21, a22) = result.accuracy["test/domain"]
    full = [[a00, *rows[0]], [a10, a11, *rows[1]], [a20, a21, a22]]
    expected = (rows[0][0] + rows[1][0]) / 2 - 0.5  # two outputs: chance is a half
    assert result.metrics["test/domain/zero_shot_transfer"] == pytest.approx(expected)
    assert metrics.zero_shot_transfer(full, [0.5] * 3) == pytest.approx(expected)
    mean = (rows[0][0] + rows[0][1] + rows[1][0]) / 3
    assert result.metrics["test/domain/mean_zero_shot_transfer"] == pytest.approx(mean)


def test_a_score_is_the_share_of_right_answers_of_the_network_so_far(tmp_path: Path) -> None:
    config = trial("finetune", "domain", **ASKED)
    row = go(config).unlearned["test/domain"][0]

    def stop(report: TaskReport) -> None:
        if report.task_id == 1:  # the first task's checkpoint is the newest
            raise Stop

    with pytest.raises(Stop):
        go(config, tmp_path, report=stop)
    state = checkpoint.load_latest(tmp_path)
    assert state is not None
    method, data = build(config)
    method.load_state_dict(state["method"])
    method.eval()
    for task, score in zip(data.tasks[1:], row, strict=True):
        x, y = task.test.batch(torch.arange(len(task.test)))
        assert score == (method.network(x).argmax(dim=1) == y).double().mean().item()


def test_a_resumed_trial_has_the_same_rows(tmp_path: Path) -> None:
    config = trial("hnet", "domain", **ASKED)

    def stop(place: Progress) -> None:
        if place.task_id == 2:
            raise Stop

    with pytest.raises(Stop):
        go(config, tmp_path, every=4, progress=stop)
    assert go(config, tmp_path, every=4).unlearned == go(config).unlearned


def test_other_scenarios_are_refused() -> None:
    values = trial("finetune", "task").to_dict() | {"train/zero_shot": True}
    (error,) = errors_of(values)
    assert error.startswith("train/zero_shot: in the task scenario a task's outputs are untrained")
