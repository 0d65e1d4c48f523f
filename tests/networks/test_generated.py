"""Generated parts of a network: all, some by name, low-rank changes, groups."""

import pytest
import torch
from tiny import assert_same, batch, build, learn, trial
from torch import Tensor, nn

from hcl.config import ConfigError
from hcl.hypernets import GroupedTaskHypernet
from hcl.methods.hnet import Hnet
from hcl.networks.generated import Generated, output_names
from hcl.networks.target import TargetNetwork


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 6)
    )


def hnet(**settings: object) -> Hnet:
    method, _ = build(trial("hnet", **{f"method__{k}": v for k, v in settings.items()}))
    assert isinstance(method, Hnet)
    return method


def test_the_output_layer_is_found() -> None:
    assert output_names(network(), 6) == ["4.weight", "4.bias"]
    assert output_names(network(), 8) == ["1.weight", "1.bias"]  # the last with 8 rows
    assert output_names(network(), 7) == []


def test_a_part_is_generated_and_the_output_layer_too() -> None:
    module = network()
    made = Generated(module, r"^0\.", 6)
    assert list(made.shapes) == ["0.weight", "0.bias", "4.weight", "4.bias"]
    assert list(made.shared) == ["1.weight", "1.bias"]
    assert made.num_parameters == sum(p.numel() for p in module.parameters())
    flat = torch.randn(made.num_weights)
    weights = made.weights(flat)
    assert list(weights) == [name for name, _ in module.named_parameters()]
    assert torch.equal(weights["1.weight"], module[1].weight)
    assert torch.equal(torch.cat([weights[n].flatten() for n in made.shapes]), flat)


def test_low_rank_changes_are_added_to_shared_matrices() -> None:
    module, x = network(), torch.randn(5, 3, 4, 4)
    made = Generated(module, "lora(2)", 6)
    shapes = {name: tuple(shape) for name, shape in made.shapes.items()}
    assert shapes == {
        "0.weight@down": (2, 27), "0.weight@up": (8, 2), "4.weight": (6, 32), "4.bias": (6,)
    }  # fmt: skip
    flat = torch.randn(made.num_weights)
    parts = made.unflatten(flat)
    expected = network()
    expected.load_state_dict(module.state_dict())
    with torch.no_grad():
        change = parts["0.weight@up"] @ parts["0.weight@down"]
        expected[0].weight += change.view(8, 3, 3, 3)
        expected[4].weight.copy_(parts["4.weight"])
        expected[4].bias.copy_(parts["4.bias"])
    target = TargetNetwork(module, made)
    buffers = {k: b.clone() for k, b in target.initial_buffers.items()}
    torch.testing.assert_close(target(flat, x, buffers), expected(x))
    many = made.weights(torch.stack([flat, 2 * flat]))
    torch.testing.assert_close(many["0.weight"][1] - module[0].weight, 4 * change.view(8, 3, 3, 3))
    assert many["0.bias"].shape == (2, 8)


def test_a_large_rank_leaves_matrices_as_they_are() -> None:
    with pytest.raises(ConfigError, match="nothing but the output layer"):
        Generated(network(), "lora(100)", 6)
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(50, 40), nn.Linear(40, 2))
    made = Generated(module, "lora(5)", 2)
    assert list(made.shapes) == ["1.weight@down", "1.weight@up", "2.weight", "2.bias"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method/generate": "no_such_layer"}, "'no_such_layer' would generate nothing but"),
        ({"method/generate": "("}, r"'\(' is no regular expression"),
        ({"method/generate": "lora(0)"}, "a rank of 1 or more"),
        ({"method/chunk_groups": ["0"]}, "'0' must be REGEX=CHUNK_SIZE"),
        ({"method/chunk_groups": ["weight=50", "0.weight=50"]}, "an earlier group"),
        (
            {"method/chunk_groups": ["0=9"], "method/lookahead": "full"},
            "set lookahead to detached",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(trial("hnet", **settings))


@pytest.mark.parametrize("shared", ["once", "fixed"])
@pytest.mark.parametrize("generate", ["^0", "lora(1)"])
def test_shared_weights_learn_with_the_first_task_or_never(shared: str, generate: str) -> None:
    sizes = {"target__hidden_sizes": [8, 7]}
    method, data = build(trial("hnet", method__generate=generate, method__shared=shared, **sizes))
    values = [[p.detach().clone() for p in method.shared]]
    for task_id in range(2):
        learn(method, data, task_id)
        values.append([p.detach().clone() for p in method.shared])
    initial, after_first, after_second = values
    assert len(initial) > 0
    assert_same(after_first, after_second)
    moved = [not torch.equal(p, q) for p, q in zip(initial, after_first, strict=True)]
    assert all(moved) if shared == "once" else not any(moved)
    assert method.num_stored() == method.task_hypernet.num_stored() + sum(
        p.numel() for p in method.shared
    )


def test_groups_have_chunks_of_their_own_size() -> None:
    method = hnet(chunk_groups=["0.weight=70", "bias=4"], chunk_size=30)
    owner = method.task_hypernet
    assert isinstance(owner, GroupedTaskHypernet)
    names = list(method.generated.shapes)
    assert names == ["0.weight", "0.bias", "2.bias", "2.weight"]
    sizes = [(m.hypernet.num_weights, m.hypernet.chunk_size) for m in owner._each()]
    assert sizes == [(512, 70), (14, 4), (48, 30)]
    assert owner(range(3)).shape == (3, method.generated.num_weights)


@pytest.mark.parametrize("mask_heads", [False, True])
def test_the_penalty_of_groups_is_that_of_the_whole_vector(mask_heads: bool) -> None:
    settings = {"chunk_groups": ["0.weight=70", "bias=4"], "mask_heads": mask_heads, "beta": 3.0}
    method = hnet(**settings)
    _, data = build(trial("hnet"))
    learn(method, data, 0)
    learn(method, data, 1, steps=5)
    method.start_task(data.tasks[2])
    owner = method.task_hypernet
    before = owner(range(2)).detach()
    for member in owner._each():
        member.hypernet.output.data += 0.1 * torch.randn_like(member.hypernet.output)
    change = (owner(range(2)).detach() - before).square()
    mask = method._head_mask()
    assert (mask is not None) == mask_heads
    expected = 3.0 * (change if mask is None else change * mask.keep).sum() / 2
    value = _penalty_without_a_step(method, batch(data, method, 2))
    assert value == pytest.approx(expected.item(), rel=1e-4)


def _penalty_without_a_step(method: Hnet, xy: tuple[Tensor, Tensor]) -> float:
    for member in method.task_hypernet._each():
        member.optimizer.lr = member.embedding_optimizer.lr = 0.0
    return float(method.train_step(*xy)["regularizer"])


def test_groups_learn() -> None:
    method, data = build(trial("hnet", method__chunk_groups=["0.weight=70"], train__lr=0.01))
    first, *_, last = learn(method, data, 0, steps=40)
    assert last["task"] < first["task"] / 2
