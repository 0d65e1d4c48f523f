"""Initial values of hypernetworks: ranges and variances in closed form."""

from itertools import pairwise
from math import prod
from typing import Any

import pytest
import torch
from hypernet_cases import Case
from tiny import build, errors_of, trial
from torch import Tensor, nn

from hcl.hypernets import Hypernet
from hcl.hypernets.initial import chunk_variance, full_variance, initialise_
from hcl.methods.hnet import Hnet
from hcl.networks.generated import Generated
from hcl.networks.layers import fully_connected
from hcl.networks.resnet32 import ResNet32

SIZES = [48, 40, 32, 10]  # of the target
NUM_TASKS, EMBEDDING, CHUNK_EMBEDDING, DRAWS = 16, 20, 30, 30


def generated(
    init: str, gain: float = 2.0, std: float = 1.0, generate: str = "all", **sizes: Any
) -> dict[str, Tensor]:
    """The weights that new hypernetworks generate, (draws x tasks, *shape) of each tensor."""
    layout = Generated(fully_connected(SIZES), generate, SIZES[-1])
    made = []
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        hypernet = make(layout.num_weights, **sizes)
        embeddings = std * torch.randn(NUM_TASKS, EMBEDDING)
        initialise_(hypernet, init, embeddings, layout.tensors(layout.groups[0], gain))
        made.append(hypernet(embeddings).detach())
    return layout.unflatten(torch.cat(made))


def make(num_weights: int, **sizes: Any) -> Hypernet:
    shape = {"chunk_size": 0, "hidden_sizes": (64, 48), "activation": "relu", **sizes}
    return Hypernet(num_weights, EMBEDDING, CHUNK_EMBEDDING, **shape)


def test_a_full_hypernetwork_has_an_xavier_layer_for_each_tensor() -> None:
    layout = Generated(fully_connected(SIZES), "all", SIZES[-1])
    torch.manual_seed(0)
    hypernet = make(layout.num_weights, hidden_sizes=(30,))
    before = [p.clone() for p in hypernet.theta()[:-1]]
    tensors = layout.tensors(layout.groups[0], 1.0)
    initialise_(hypernet, "xavier_per_tensor", torch.randn(3, EMBEDDING), tensors)
    for name, shape in layout.shapes.items():
        columns = hypernet.output[:, layout.positions(name)]
        bound = (6 / (30 + prod(shape))) ** 0.5
        assert 0.95 * bound < columns[:-1].abs().max() <= bound, name
        assert columns[:-1].std().item() == pytest.approx(bound / 3**0.5, rel=0.1), name
        assert not columns[-1].any(), name
    for mine, old in zip(hypernet.theta(), before, strict=False):
        assert torch.equal(mine, old)  # hidden layers stay as they were


@pytest.mark.parametrize("hypernet_units", ["relu", "elu", "sigmoid"])
@pytest.mark.parametrize("gain", [1.0, 2.0], ids=["xavier", "kaiming"])
def test_hyperfan_of_a_full_hypernetwork(gain: float, hypernet_units: str) -> None:
    """With generated biases, Var(W) = gain / (2 fan_in) and Var(b) = gain / 2 (Chang et al.).

    Var(W x + b) is then that of an ordinary network's W x.
    """
    weights = generated("hyperfan", gain, activation=hypernet_units)
    for (fan_in, _), (name, value) in zip(
        [pair for pair in pairwise(SIZES) for _ in range(2)], weights.items(), strict=True
    ):
        wanted = gain / 2 if name.endswith("bias") else gain / 2 / fan_in
        # Tasks share V, so that there are only so many independent values.
        error = (2 / (DRAWS * value[0].numel())) ** 0.5
        assert value.square().mean().item() == pytest.approx(wanted, rel=0.03 + 4 * error), name
        assert abs(value.mean().item()) < 4 * error * wanted**0.5, name


def test_hyperfan_keeps_the_size_of_activations() -> None:
    for init, is_kept in (("hyperfan", True), ("xavier", False)):
        weights = generated(init, std=3.0)
        x = torch.randn(len(weights["0.bias"]), 20, SIZES[0])
        for i in (0, 2):
            x = (x @ weights[f"{i}.weight"].mT + weights[f"{i}.bias"][:, None]).relu()
        # E relu(z)^2 is half of the variance of z, which Kaiming's gain makes up for.
        assert (0.8 < x.square().mean() < 1.25) == is_kept, init


@pytest.mark.parametrize(
    ("std", "shape"),
    [
        (1.0, {"hidden_sizes": ()}),
        (1.0, {"activation": "relu"}),
        (0.2, {"activation": "relu"}),
        (1.0, {"activation": "elu"}),
    ],
    ids=["linear", "relu", "small embeddings", "elu"],
)
def test_hyperfan_of_chunks(std: float, shape: dict[str, Any]) -> None:
    """A tensor of whole chunks has its own variance, a chunk of several the mean of theirs."""
    weights = generated("hyperfan", std=std, chunk_size=160, **shape)
    # 0.weight has 12 chunks of 160; 0.bias and the first 120 of 2.weight share the next, ...
    layer = weights["0.weight"].flatten(1), weights["2.weight"].flatten(1)[:, 120:1240]
    close = 0.2 if shape.get("activation") == "elu" else 0.1  # does not quite keep variances
    assert layer[0].square().mean().item() == pytest.approx(2 / 48, rel=close)
    assert layer[1].square().mean().item() == pytest.approx(2 / 40, rel=close)
    mixed = torch.cat([weights["0.bias"], weights["2.weight"].flatten(1)[:, :120]], dim=1)
    wanted = (40 / (3 * 48) + 120 * 2 / 40) / 160
    assert mixed.square().mean().item() == pytest.approx(wanted, rel=0.15)


@pytest.mark.parametrize(("chunk_size", "close"), [(0, 0.15), (40, 0.5)])
def test_hyperfan_of_low_rank_changes(chunk_size: int, close: float) -> None:
    """W + up @ down starts near W: the change is about a tenth of a Kaiming layer's weights.

    Not exactly: both factors are large where the hypernetwork's last hidden layer is. Chunks with
    parts of two tensors have the mean of their variances.
    """
    weights = generated("hyperfan", 2.0, generate="lora(2)", chunk_size=chunk_size)
    for layer, fan_in in (("0.weight", 48), ("2.weight", 40)):
        up, down = (weights[f"{layer}@{factor}"] for factor in ("up", "down"))
        for factor in (up, down):
            wanted = 0.1 * (2 / fan_in / 2) ** 0.5
            assert factor.square().mean().item() == pytest.approx(wanted, rel=close), layer
        assert 0.07 < ((up @ down).square().mean() / (2 / fan_in)).sqrt() < 0.15, layer
    head = weights["4.weight"].square().mean().item()
    assert head == pytest.approx(2 / 32 / (1 if chunk_size else 2), rel=close)


def test_what_is_known_of_a_networks_tensors() -> None:
    network = ResNet32(3, 10)
    layout = Generated(network, "all", 10)
    tensors = dict(zip(layout.shapes, layout.tensors(layout.groups[0], 2.0), strict=True))
    weight, bias = tensors["blocks.7.conv1.weight"], tensors["blocks.7.conv1.bias"]
    assert (weight.fan_in, weight.is_bias, weight.has_bias) == (32 * 9, False, True)
    assert (bias.fan_in, bias.is_bias) == (32 * 9, True)
    assert tensors["norm.weight"].is_bias and tensors["norm.weight"].fan_in == 16
    no_bias = Generated(nn.Sequential(nn.Linear(8, 5, bias=False)), "all", 5)
    (alone,) = no_bias.tensors(no_bias.groups[0], 2.0)
    assert full_variance(alone) == chunk_variance(alone) == 2 / 8  # Kaiming's
    assert full_variance(weight) == 2 / (2 * 32 * 9) and full_variance(bias) == 1


def test_the_target_decides_between_kaiming_and_xavier() -> None:
    small = {"method__init": "hyperfan", "method__chunk_size": 0, "benchmark__num_tasks": 5}
    variances = []
    for activation in ("relu", "sigmoid"):
        method, _ = build(trial("hnet", target__activation=activation, **small))
        assert isinstance(method, Hnet)
        bias = method.generated.positions("0.bias")
        variances.append(method.one_hypernet.hypernet.output[:-1, bias].abs().max().item() ** 2)
    assert variances[0] / variances[1] == pytest.approx(2, rel=1e-4)


def test_a_trials_full_hypernetwork() -> None:
    """Hidden layers are Xavier-uniform too, in the toy example's shapes."""
    settings = {"init": "xavier_per_tensor", "chunk_size": 0, "hidden_sizes": [40, 50]}
    method, _ = build(trial("hnet", **{f"method__{k}": v for k, v in settings.items()}))
    assert isinstance(method, Hnet)
    *layers, output = method.one_hypernet.hypernet.theta()[1:]
    bias = method.generated.positions("0.bias")
    for matrix, fans in ((layers[0], 4 + 40), (layers[2], 40 + 50), (output[:-1, bias], 50 + 8)):
        bound = (6 / fans) ** 0.5
        assert 0.9 * bound < matrix.abs().max() <= bound
    assert not any(bias.any() for bias in (layers[1], layers[3], output[-1]))


def test_a_dead_hypernetwork_starts_with_zeros() -> None:
    hypernet = Case(0, 1, 30, activation="relu").hypernet
    layout = Generated(nn.Linear(9, 3), "all", 3)
    tensors = layout.tensors(layout.groups[0], 2.0)
    initialise_(hypernet, "hyperfan", torch.zeros(2, 3), tensors)
    assert not hypernet.output.any()


def test_the_standard_deviation_of_embeddings() -> None:
    for std in (1.0, 0.25):
        method, _ = build(trial("hnet", method__embedding_std=std, method__embedding_size=400))
        assert isinstance(method, Hnet)
        embeddings = method.one_hypernet.stacked_embeddings(range(3))
        assert embeddings.std().item() == pytest.approx(std, rel=0.05)
        assert method.one_hypernet.hypernet.chunk_embeddings.std() > 0.7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method/init": "xavier_per_tensor"}, "method/init: xavier_per_tensor is for a full"),
        (
            {"method/init": "hyperfan", "method/activation": "sigmoid"},
            "method/init: hyperfan cannot tell chunks apart behind sigmoid units",
        ),
        ({"method/embedding_std": 0}, "method/embedding_std: must be > 0 but got 0"),
    ],
)
def test_initial_values_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    (error,) = errors_of({"method/name": "hnet", **settings})
    assert error.startswith(message)
