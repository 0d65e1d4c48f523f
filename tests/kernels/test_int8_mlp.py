"""Networks in 8 bits: nearly the same logits, and nothing guessed."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hcl.kernels import int8_mlp
from hcl.kernels.flat_mlp import FlatMlp, layers_of
from hcl.kernels.int8_mlp import EightBitMlps

pytestmark = pytest.mark.skipif(
    not int8_mlp.is_fast(), reason="this processor has no fast products of 8-bit integers"
)
SIZES = [(48, 40), (32, 48), (6, 32)]
NUM_WEIGHTS = sum(n * m + n for n, m in SIZES)
HEADS = [slice(0, 3), slice(3, 6)]


def networks(seed: int = 0, scale: float = 1.0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    flat = torch.randn(2, NUM_WEIGHTS, generator=draws)
    for network in flat:
        for weight, bias in layers_of(network, SIZES):
            weight.mul_(scale * weight.shape[1] ** -0.5)
            bias.mul_(0.1)
    return flat


def exact(flat: Tensor, x: Tensor) -> Tensor:
    each = zip(flat, HEADS, strict=True)
    return torch.stack([FlatMlp.apply(weights, x, SIZES)[:, head] for weights, head in each])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    size=st.sampled_from([1e-3, 1.0, 1e3]),
    shift=st.sampled_from([0.0, -0.3, -0.5, -1.0, 0.7]),
    num_rows=st.sampled_from([1, 31, 64, 200]),
)
def test_logits_are_nearly_the_same(seed: int, size: float, shift: float, num_rows: int) -> None:
    flat = networks(seed)
    x = size * (torch.rand(num_rows, 40, generator=torch.Generator().manual_seed(seed)) + shift)
    found, expected = EightBitMlps(flat, SIZES, HEADS)(x), exact(flat, x)
    assert found is not None and found.shape == expected.shape
    known = ~found.isnan()
    assert known.float().mean() > 0.9
    error = (found - expected)[known].abs().max()
    assert error < 0.06 * expected.abs().max()


def test_values_beyond_the_scale_are_noticed() -> None:
    """The sample is every sixth input; one outside of it is a thousand times larger."""
    x = torch.rand(200, 40)
    x[7] *= 1000
    flat = networks()
    found = EightBitMlps(flat, SIZES, HEADS)(x)
    assert found is not None
    assert found[:, 7].isnan().all()
    others = torch.arange(200) != 7
    # The inputs' own scale has room for the large one, so the others are all but 0 in 8 bits.
    assert found[:, others].isfinite().all()


def test_networks_that_are_all_zero_give_zero() -> None:
    found = EightBitMlps(torch.zeros(2, NUM_WEIGHTS), SIZES, HEADS)(torch.zeros(80, 40))
    assert found is not None and not found.any()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("where", ["weight", "bias", "input"])
def test_what_is_not_finite_is_not_tried(bad: float, where: str) -> None:
    flat, x = networks(), torch.rand(80, 40)
    if where == "input":
        x[3, 4] = bad
    else:
        weight, bias = layers_of(flat[1], SIZES)[1]
        (weight if where == "weight" else bias)[3] = bad
    assert EightBitMlps(flat, SIZES, HEADS)(x) is None


def test_minute_inputs_are_not_tried() -> None:
    assert EightBitMlps(networks(), SIZES, HEADS)(torch.full((80, 40), 1e-42)) is None


def test_the_same_again() -> None:
    x = torch.rand(300, 40)
    found = [EightBitMlps(networks(), SIZES, HEADS)(x) for _ in range(2)]
    assert found[0] is not None and found[1] is not None
    assert torch.equal(found[0], found[1])


def test_images_are_flattened() -> None:
    x = torch.rand(70, 40)
    flat, image = (EightBitMlps(networks(), SIZES, HEADS)(v) for v in (x, x.view(70, 1, 5, 8)))
    assert flat is not None and image is not None and torch.equal(flat, image)


@pytest.mark.parametrize("fault", [AttributeError, RuntimeError, TypeError, None])
def test_without_torchs_operators_it_is_not_fast(
    fault: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operators that are missing, fail, take other arguments, or compute something else."""
    operator = int8_mlp._operator

    def broken(name: str) -> Any:
        if fault is None:
            return lambda *a: operator(name)(*a).add_(name == "qlinear_pointwise")
        raise fault

    monkeypatch.setattr(int8_mlp, "_operator", broken)
    assert not int8_mlp.is_fast.__wrapped__()


def test_a_layer_that_is_dead_on_the_sample_hides_nothing() -> None:
    """A unit that is dead on the sample is alive on inputs between the sample's."""
    flat = networks(3)
    for network in flat:
        (weight, bias), *_ = layers_of(network, SIZES)
        weight[:, 1:], weight[:, 0], bias[:] = 0.0, 0.4, -0.01
    x = torch.zeros(320, 40)
    x[5::10, 0] = 1.0
    found, expected = EightBitMlps(flat, SIZES, HEADS)(x), exact(flat, x)
    assert found is not None
    assert found[:, 5::10].isnan().all()
    rest = torch.arange(320) % 10 != 5
    assert (found - expected)[:, rest].abs().max() < 0.1 * expected.std()


@pytest.mark.parametrize(
    ("low", "high"), [(-38.865539610385895, 199.0102931857109), (-0.25, 0.75)]
)
@pytest.mark.parametrize("std", [1.0, 0.178])
def test_the_lowest_input_is_not_the_highest(low: float, high: float, std: float) -> None:
    """Both ends of the range are at half a level, which may be rounded up or down."""
    flat = networks(4)
    x = torch.rand(200, 40) * (high - low) + low
    x[:, ::2], x[0, 1] = low, high
    x /= std
    found, expected = EightBitMlps(flat, SIZES, HEADS)(x), exact(flat, x)
    assert found is not None
    assert (found - expected).nan_to_num().abs().max() < 0.2 * expected.abs().max()
