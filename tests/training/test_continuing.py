"""A learner that learns a task later is the one that was trained in one go, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import VARIANTS, assert_same, go, trial, variant

import hcl
from hcl.benchmarks import load
from hcl.config import ConfigError, TrialConfig
from hcl.learners import Learner
from hcl.training.learner import Runtime, TrainingDiverged

ONE_THREAD = Runtime(threads=1)


def start(config: TrialConfig, first_tasks: int = 2) -> Learner:
    return hcl.run(config, runtime=ONE_THREAD, first_tasks=first_tasks).learner


def more(learner: Learner, *task: Any) -> Learner:
    return hcl.continue_training(learner, *task, runtime=ONE_THREAD)


@pytest.mark.parametrize("name", VARIANTS)
def test_from_its_file_it_equals_one_go(name: str, tmp_path: Path) -> None:
    config = variant(name)
    start(config).save(tmp_path / "a.safetensors")
    early = hcl.load(tmp_path / "a.safetensors")
    before = early.copy().to_state()
    torch.manual_seed(99)  # what happens in between does not matter
    assert [task.task_id for task in early.tasks] == [0, 1]
    assert_same(more(early).to_state(), go(config).learner.to_state())
    assert_same(early.to_state(), before)


@pytest.mark.parametrize("scenario", ["domain", "class"])
@pytest.mark.parametrize("method", ["hnet_tir", "er", "dgr"])
def test_in_the_other_scenarios(method: str, scenario: str) -> None:
    config = trial(method, scenario, benchmark="permuted_digits")
    assert_same(more(more(start(config, 1))).to_state(), go(config).learner.to_state())


@pytest.mark.parametrize("method", ["hnet", "si", "er"])
def test_a_users_arrays_are_a_task(method: str) -> None:
    config = trial(method, "task")
    task = load(config.benchmark).tasks[2]
    images = task.train.x.numpy().reshape(-1, 8, 8)
    learner = more(start(config), (images, 70 + 7 * task.train.y.numpy()))
    assert learner.tasks[2].labels == (70, 77)
    expected = go(config).learner
    assert_same(learner.to_state()["method"], expected.to_state()["method"])
    found = learner.predict(task.test.x, 2)
    assert torch.equal((found.labels - 70) // 7, expected.predict(task.test.x, 2).labels - 4)
    assert learner.data_digest != expected.data_digest
    # Of its benchmark there is no next task any more, and it says so.
    split = more(start(config, 1), load(config.benchmark).tasks[2])
    with pytest.raises(ConfigError, match="was trained on other data"):
        more(split)


@pytest.mark.parametrize("method", ["hnet", "si", "online_ewc", "lwf", "er", "finetune"])
def test_a_whole_sequence_grows_where_tasks_share_their_outputs(method: str) -> None:
    """Without a plan for a third task the third is learned, equal to a sequence of three."""
    longer = trial(method, "domain", benchmark="permuted_digits")
    short = trial(method, "domain", benchmark="permuted_digits", benchmark__num_tasks=2)
    learner = more(go(short).learner, load(longer.benchmark).tasks[2])
    assert [task.task_id for task in learner.tasks] == [0, 1, 2]
    assert_same(learner.to_state()["method"], go(longer).learner.to_state()["method"])
    x = load(longer.benchmark).tasks[2].test.x
    assert torch.equal(learner.copy().predict(x).labels, learner.predict(x).labels)


def test_floats_are_taken_as_they_are() -> None:
    config = trial("finetune")
    task = load(config.benchmark).tasks[2]
    x, y = task.train.batch(torch.arange(len(task.train)))
    state = more(start(config), (x, y)).to_state()["method"]
    assert_same(state, more(start(config), task).to_state()["method"])


def test_what_cannot_go_on() -> None:
    learner = start(trial("finetune"))
    x, y = np.zeros((4, 64), np.uint8), np.array([0, 1, 0, 1])
    with pytest.raises(ConfigError, match="it has 1 classes, but every task of"):
        more(learner, (x, y * 0))
    with pytest.raises(ConfigError, match="has 3 labels for 4 inputs"):
        more(learner, (x, y[:3]))
    with pytest.raises(ConfigError, match="labels must be whole numbers"):
        more(learner, (x, y / 2))
    with pytest.raises(ConfigError, match="joint trains on the data of all tasks"):
        more(start(trial("joint")), (x, y))
    with pytest.raises(ConfigError, match="has outputs for 3 tasks and has learned them all"):
        more(go(trial("finetune")).learner, (x, y))
    with pytest.raises(ConfigError, match="has 3 tasks, and all are learned; give the data"):
        more(go(trial("finetune", "domain")).learner)
    with pytest.raises(ConfigError, match="replay model of this dgr has not learned the last"):
        more(go(trial("dgr", "domain")).learner, (x, y))
    with pytest.raises(ConfigError, match="first_tasks: must be 1 to 3 but got 4"):
        start(trial("finetune"), 4)


def test_a_task_that_diverges() -> None:
    learner = start(trial("finetune"))
    x = np.full((20, 64), np.nan, np.float32)
    with pytest.raises(TrainingDiverged):
        more(learner, (x, np.arange(20) % 2))
