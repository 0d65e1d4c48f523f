"""HNET+TIR where another trial has trained the classifier already."""

from dataclasses import replace
from typing import Any

import pytest
from tiny import batch, build, trial

from hcl.hypernets import TaskHypernet
from hcl.methods.hnet_tir import HnetTir


class Shared:
    """Has the classifier after every task; nobody may ask for it before the task's end."""

    def has(self, task_id: int) -> bool:
        return True

    def take(self, task_id: int) -> dict[str, Any]:
        raise AssertionError(f"task {task_id} is not over")


def test_a_taken_classifier_has_no_regularizer_and_compiles_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built, data = build(trial("hnet_tir", "class", train__compile="on"))
    assert isinstance(built, HnetTir)
    started: list[tuple[TaskHypernet, int]] = []
    original = TaskHypernet.start_task

    def start_task(self: TaskHypernet, task_id: int, *mask: Any) -> None:
        started.append((self, task_id))
        original(self, task_id, *mask)

    monkeypatch.setattr(TaskHypernet, "start_task", start_task)
    built.setup = replace(built.setup, shared=Shared())  # type: ignore[arg-type]
    for task in data.tasks[:2]:
        built.start_task(task)
        built.train()
        losses = built.train_step(*batch(data, built, task.task_id))
        assert "task" not in losses
        assert "replay_model" in losses
    assert built.one_hypernet.regularizer is None
    assert built.one_hypernet.compile_seconds == 0
    of_replay = built.replay_model.task_hypernet
    assert [task_id for part, task_id in started if part is of_replay] == [0, 1]
    assert {task_id for part, task_id in started if part is built.one_hypernet} == {0}
