"""Counted operations against closed forms."""

import pytest
from tiny import EVERY_CELL, batch, build, trial
from torch.utils.flop_counter import FlopCounterMode

from hcl.measure.flops import count_flops

FORWARD = 2 * (64 * 8 + 8 * 6)  # of the digits' 64 pixels, 8 hidden units, 3 heads of 2 classes


def test_of_an_ordinary_network() -> None:
    """Backward needs both products of every layer, but none for the inputs' gradient."""
    found = count_flops(trial("finetune"))
    assert found.prediction == FORWARD
    assert found.training == 3 * FORWARD - 2 * 64 * 8


def test_replay_doubles_a_step() -> None:
    plain, replayed = count_flops(trial("finetune")), count_flops(trial("er"))
    assert replayed.training == 2 * plain.training
    assert replayed.prediction == plain.prediction


def test_a_hypernetwork_costs_in_training_and_inference_costs_a_network_per_task() -> None:
    given, inferred = count_flops(trial("hnet")), count_flops(trial("hnet", "class"))
    assert given.prediction == FORWARD and inferred.prediction == 3 * FORWARD
    assert given.training > 3 * FORWARD


@pytest.mark.parametrize("method", ["icarl", "der_plus", "hnet_r", "ewc", "xdg", "pr_bbb"])
def test_of_other_methods(method: str) -> None:
    found = count_flops(trial(method))
    assert found.training > FORWARD and found.prediction >= FORWARD


@pytest.mark.parametrize(
    ("method", "scenario"), [cell[:2] for cell in EVERY_CELL if cell[2] == "split_digits"]
)
def test_a_step_of_the_last_task_counts_as_after_steps_of_all(method: str, scenario: str) -> None:
    config = trial(method, scenario, train__kernels="plain", train__compile="off")
    learner, data = build(config)
    for task in data.tasks:
        learner.start_task(task)
        learner.train()
        with FlopCounterMode(display=False) as counter:
            learner.train_step(*batch(data, learner, task.task_id))
        learner.end_task(task)
    assert count_flops(config).training == counter.get_total_flops() / 16
