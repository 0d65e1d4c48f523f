"""Context-dependent gating against a network computed by hand with the gates in its middle."""

from dataclasses import replace

import pytest
import torch
from tiny import assert_same, batch, build, errors_of, learn, trial
from torch import Tensor

from hcl.config import ConfigError, TargetConfig
from hcl.methods import Setup
from hcl.methods.xdg import XdG
from hcl.scenario import make_layout


def made_with(**settings: object) -> tuple[XdG, object]:
    made, data = build(trial("xdg", target__hidden_sizes=[20, 10], **settings))
    assert isinstance(made, XdG)
    return made, data


def by_hand(made: XdG, x: Tensor, task_id: int) -> Tensor:
    """Two hidden layers, their units times the task's gates."""
    first, _, second, _, last = made.network
    hidden = (x @ first.weight.T + first.bias).relu() * made.gates_0[task_id]
    hidden = (hidden @ second.weight.T + second.bias).relu() * made.gates_1[task_id]
    return hidden @ last.weight.T + last.bias


def test_units_that_are_off_reach_nothing() -> None:
    made, data = made_with()
    assert made.gates_0.sum(1).tolist() == [4] * 3 and made.gates_1.sum(1).tolist() == [2] * 3
    assert len({tuple(row.tolist()) for row in made.gates_0}) == 3
    for task_id in range(2):
        learn(made, data, task_id)
    made.eval()
    x, _ = batch(data, made, 0)
    for task_id in range(2):
        expected = by_hand(made, x, task_id)
        torch.testing.assert_close(made.predict(x, task_id).logits, expected)
        twin = made.setup.build_network()
        twin.load_state_dict(made.network_weights(task_id))
        torch.testing.assert_close(twin(x), expected)
    x, y = batch(data, made, 1)
    torch.testing.assert_close(
        made.losses(x, y)["task"], made.layout.cross_entropy(by_hand(made, x, 1), y, 1)
    )


def test_their_weights_do_not_learn() -> None:
    """Weights from and to units that are off stay as they are: nothing is forgotten there."""
    made, data = made_with()
    learn(made, data, 0)
    before = [p.clone() for p in made.network.parameters()]
    made.optimizer = made.make_optimizer()  # without moments of the first task
    learn(made, data, 1)
    first, _, second, _, _ = made.network
    off, on = ~made.gates_0[1], made.gates_0[1]
    assert torch.equal(first.weight[off], before[0][off])
    assert torch.equal(second.weight[:, off], before[2][:, off])
    assert not torch.equal(first.weight[on], before[0][on])


def test_without_gates_it_is_si() -> None:
    gated, data = build(trial("xdg", method__gated=0.0, method__c=2.0))
    plain, _ = build(trial("si", method__c=2.0))
    for task_id in range(2):
        for made in (gated, plain):
            learn(made, data, task_id)
    assert_same(gated.network.state_dict(), plain.network.state_dict())


def test_channels_of_convolutions_are_gated() -> None:
    config = replace(trial("xdg"), target=TargetConfig("resnet32", ()))
    layout = make_layout(config, 3, 2)
    made = XdG(Setup(config, layout, (3, 8, 8)))
    made.task_id = 1
    made.eval()
    names = list(made.gated)
    before = {name: made.network.get_submodule(name).weight.clone() for name in names}
    x = torch.rand(5, 3, 8, 8)
    found = made.predict(x, 0).logits
    twin = made.setup.build_network()
    twin.load_state_dict(made.network_weights(0))
    torch.testing.assert_close(twin.eval()(x), found, rtol=1e-4, atol=1e-5)
    assert len(names) == 31 and all(
        torch.equal(before[name], made.network.get_submodule(name).weight) for name in names
    )
    assert not torch.allclose(found, made.predict(x, 1).logits)


def test_what_it_cannot_gate_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no hidden units that xdg could gate"):
        build(trial("xdg", target__hidden_sizes=[]))
    (error,) = errors_of({"method/name": "xdg", "scenario": "class"})
    assert "its gates follow from the task" in error
