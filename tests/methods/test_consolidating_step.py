"""The compiled step of SI, online EWC and MAS beside torch's operations."""

import copy
from typing import Any

import pytest
import torch
from tiny import batch, build, trial

from hcl.kernels import one_pass
from hcl.networks.consolidating_step import consolidating_step

METHODS: dict[str, dict[str, Any]] = {
    "si": {"method__c": 5.0, "method__damping": 0.05},
    "online_ewc": {"method__ewc_lambda": 50.0, "method__gamma": 0.9},
    "mas": {"method__mas_lambda": 5.0},
}

pytestmark = pytest.mark.skipif(one_pass.kernel()[0] is None, reason="no C++ compiler")


def learn(name: str, how: str, threads: int = 2) -> tuple[Any, list[float]]:
    """Train three tasks; give the method and its penalties."""
    torch.set_num_threads(threads)
    # 60 x 784 weights: more than one block of columns, the last one not full.
    made, data = build(
        trial(name, train__compile=how, target__hidden_sizes=[60, 7], **METHODS[name])
    )
    penalties = []
    for task_id in range(3):
        made.start_task(data.tasks[task_id])
        for step in range(6):
            losses = made.train_step(*batch(data, made, task_id, 16 * step))
            penalties += [losses["regularizer"].item()] if task_id else []
        made.end_task(data.tasks[task_id])
    return made, penalties


def tensors(made: Any) -> list[torch.Tensor]:
    """The parameters, Adam's moments, and what the method knows of the past."""
    adam = made.optimizer.state_dict()["state"].values()
    held = getattr(made, "importance", None) or list(made.importances[0].values())
    moments = [state[key] for state in adam for key in ("exp_avg", "exp_avg_sq", "step")]
    return [*(p.detach() for p in made.network.parameters()), *moments, *held]


@pytest.mark.parametrize("name", METHODS)
def test_it_takes_the_steps_of_torch(name: str) -> None:
    (mine, found), (theirs, expected) = learn(name, "on"), learn(name, "off")
    assert mine.fast_step is not None and theirs.fast_step is None
    assert mine.compile_seconds >= 0.0
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-9)
    assert max(found) > 1e-4
    for one, other in zip(tensors(mine), tensors(theirs), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-6)


@pytest.mark.parametrize("name", METHODS)
def test_repeated_steps_have_the_same_bits(name: str) -> None:
    (first, found), (second, again) = learn(name, "on", 2), learn(name, "on", 2)
    assert found == again
    for one, other in zip(tensors(first), tensors(second), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", METHODS)
def test_a_trial_goes_on_with_the_same_bits(name: str) -> None:
    torch.set_num_threads(1)
    made, data = build(trial(name, train__compile="on", **METHODS[name]))
    again, _ = build(trial(name, train__compile="on", **METHODS[name]))
    made.start_task(data.tasks[0])
    made.train_step(*batch(data, made, 0, 0))
    made.end_task(data.tasks[0])
    made.start_task(data.tasks[1])
    made.train_step(*batch(data, made, 1, 0))
    again.load_state_dict(copy.deepcopy(made.state_dict()))
    for one in (made, again):
        one.train_step(*batch(data, made, 1, 16))
    for mine, theirs in zip(tensors(made), tensors(again), strict=True):
        assert torch.equal(mine, theirs)


def test_a_parameter_without_gradient_is_pulled_all_the_same() -> None:
    used, unused = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    adam = torch.optim.Adam([used, unused], lr=0.1)
    config = trial("si", train__compile="on").train
    step = consolidating_step(adam, config, num_tasks=2)
    assert step is not None
    step.take(used.sum())
    assert torch.equal(unused.detach(), torch.ones(3)) and len(adam.state[unused]) == 0
    ones, zeros = [torch.ones(3)] * 2, [torch.zeros(3)] * 2
    penalty = step.take(0 * used.sum(), 0.5, ones, zeros)
    assert penalty.item() == pytest.approx(0.5 * (3 + 3 * 0.9**2))
    torch.testing.assert_close(unused.detach(), torch.full((3,), 0.9))


@pytest.mark.parametrize(
    "change", [{"train__compile": "off"}, {"train__kernels": "plain"}, {"train__iterations": 5}]
)
def test_where_it_is_not_wanted(change: dict[str, Any]) -> None:
    made, _ = build(trial("si", **change))
    assert made.fast_step is None
