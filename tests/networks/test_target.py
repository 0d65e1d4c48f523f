"""A target network with weights from outside computes what the module computes."""

import pytest
import torch
from torch import Tensor, nn

from hcl.config import TargetConfig
from hcl.networks import build_network
from hcl.networks.target import TargetNetwork


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 4),
    )


def flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def fresh(target: TargetNetwork) -> dict[str, Tensor]:
    return {k: b.clone() for k, b in target.initial_buffers.items()}


def test_an_mlp_gives_the_modules_outputs() -> None:
    module = build_network(TargetConfig(hidden_sizes=(7, 5)), (10,), 4)
    target, x = TargetNetwork(module), torch.randn(6, 10)
    assert target.num_weights == 10 * 7 + 7 + 7 * 5 + 5 + 5 * 4 + 4
    assert torch.equal(target(flat(module), x), module(x))
    assert all(p.is_meta for p in target.module.parameters())
    assert not any(p.is_meta for p in module.parameters())


def test_convolutions_give_the_modules_outputs_and_running_statistics() -> None:
    module, x = conv(), torch.randn(8, 2, 4, 4)
    target = TargetNetwork(module)
    buffers = fresh(target)
    target.train(True)
    module.train()
    for _ in range(3):
        assert torch.equal(target(flat(module), x, buffers), module(x))
    assert set(buffers) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    for name, value in module.named_buffers():
        assert torch.equal(buffers[name], value), name
    assert buffers["1.num_batches_tracked"] == 3
    assert target.initial_buffers["1.num_batches_tracked"] == 0
    target.train(False)
    module.eval()
    before = {k: b.clone() for k, b in buffers.items()}
    assert torch.equal(target(flat(module), x, buffers), module(x))
    assert all(torch.equal(buffers[k], before[k]) for k in before)


def test_gradients_reach_the_weights() -> None:
    module, x = conv(), torch.randn(8, 2, 4, 4)
    target = TargetNetwork(module)
    weights = flat(module).requires_grad_()
    target(weights, x, fresh(target)).square().sum().backward()
    module(x).square().sum().backward()
    expected = torch.cat([p.grad.flatten() for p in module.parameters()])
    torch.testing.assert_close(weights.grad, expected)


def test_many_networks_at_once() -> None:
    modules, x = [conv() for _ in range(3)], torch.randn(8, 2, 4, 4)
    target = TargetNetwork(modules[0])
    buffers = []
    for module in modules:
        for _ in range(2):
            module(torch.randn(8, 2, 4, 4))  # running statistics of its own
        buffers.append(dict(module.eval().named_buffers()))
    target.train(False)
    many = target.run_many(torch.stack([flat(m) for m in modules]), x, buffers)
    assert many.shape == (3, 8, 4)
    for mine, module in zip(many, modules, strict=True):
        torch.testing.assert_close(mine, module(x))


def test_a_missing_weight_is_an_error() -> None:
    target = TargetNetwork(conv())
    with pytest.raises(RuntimeError):  # the running statistics are not handed in
        target(torch.zeros(target.num_weights), torch.zeros(1, 2, 4, 4))
    with pytest.raises(RuntimeError):
        target(torch.zeros(target.num_weights - 1), torch.zeros(1, 2, 4, 4), fresh(target))


def test_positions_and_names() -> None:
    module = conv()
    target, weights = TargetNetwork(module), flat(module)
    named = target.generated.unflatten(weights)
    assert named.keys() == dict(module.named_parameters()).keys()
    for name, p in module.named_parameters():
        span = target.generated.positions(name)
        assert torch.equal(weights[span.start : span.stop], p.detach().flatten())
        assert torch.equal(named[name], p)
    assert target.generated.unflatten(torch.zeros(5, 2, target.num_weights))["0.weight"].shape == (
        (5, 2, 3, 2, 3, 3)
    )
    with pytest.raises(KeyError):
        target.generated.positions("9.weight")


def test_images_are_flattened() -> None:
    network = build_network(TargetConfig(hidden_sizes=()), (2, 3, 3), 4)
    assert network(torch.zeros(5, 2, 3, 3)).shape == (5, 4)
    assert flat(network).numel() == 18 * 4 + 4
