"""Fully connected networks in 8-bit integers: approximate logits, four times as fast."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from hcl.kernels.flat_mlp import Sizes, layers_of

# Number of inputs from which the range of hidden values is estimated, and room above that range.
SAMPLE, HEADROOM = 32, 1.5
LEVELS, WEIGHT_LEVELS = 255, 127  # largest integers, for values (unsigned) and weights (signed)
SMALLEST = 1e-30  # the smallest scale, in place of 0

Weights = tuple[Tensor, Tensor, Tensor, Tensor]  # packed, scales, zero points, bias


class EightBitMlps:
    """8-bit copies of T networks, for inputs on the CPU.

    A layer's weights have a scale for each output. Its values share one scale, estimated from the
    largest value in a sample of the inputs; an input with values beyond it is reported as NaN.

    Args:
        flat: (T, num_weights), each network's weights as `FlatMlp` takes them, float32.
        sizes: sizes of the layers.
        heads: for each network the outputs that are wanted, all equally many.
    """

    def __init__(self, flat: Tensor, sizes: Sizes, heads: list[slice]) -> None:
        self.networks: list[list[Weights]] = []
        for weights, head in zip(flat, heads, strict=True):
            *hidden, (last, bias) = layers_of(weights, sizes)
            layers = [*hidden, (last[head], bias[head])]
            self.networks.append([_packed(*layer) for layer in layers])
        self.is_finite = all(
            bool(scales.isfinite().all() and bias.isfinite().all())
            for network in self.networks
            for _, scales, _, bias in network
        )

    def __call__(self, x: Tensor) -> Tensor | None:
        """Compute approximate logits.

        Args:
            x: (B, inputs).

        Returns:
            (T, B, outputs), NaN for an input with hidden values beyond the scale; None if inputs
            or weights are not finite, or the inputs are too small to be scaled.
        """
        x = x.flatten(1)
        least, most = torch.aminmax(x)
        low, high = float(least.clamp_max(0)), float(most.clamp_min(0))
        # With a zero point both ends of the range are rounded, possibly up.
        scale = (high - low) / (LEVELS - (low < 0)) or 1.0
        if not (self.is_finite and SMALLEST < scale < float("inf")):
            return None
        zero = math.ceil(-low / scale)  # rounded up, or the lowest value might be -1, that is 255
        values = (x * (1 / scale)).round_()
        values = (values.add_(zero) if zero else values).to(torch.uint8)
        found = [self._run(network, values, scale, zero) for network in self.networks]
        return torch.stack(found)

    def _run(self, network: list[Weights], values: Tensor, scale: float, zero: int) -> Tensor:
        """Run one network on values in 8 bits."""
        scales = _scales(network, values[:: max(1, len(values) // SAMPLE)], scale, zero)
        is_cut = torch.zeros(len(values), dtype=torch.bool)
        for layer, after in zip(network, scales, strict=False):
            values = _linear(values, scale, zero, layer, "relu", after)
            scale, zero = after, 0
            if int(values.amax()) == LEVELS:
                is_cut |= values.amax(1) == LEVELS
        logits = _linear(values, scale, zero, network[-1])
        return logits.masked_fill_(is_cut[:, None], torch.nan)


def _scales(network: list[Weights], sample: Tensor, scale: float, zero: int) -> list[float]:
    """Estimate the scale of each hidden layer's values from a sample of the inputs."""
    found = []
    for layer in network[:-1]:
        hidden = _linear(sample, scale, zero, layer, "relu")
        # A layer that is dead on the sample gets the smallest scale: every value is beyond it.
        scale, zero = max(float(hidden.amax()) * HEADROOM / LEVELS, SMALLEST), 0
        found.append(scale)
        sample = hidden.div_(scale).round_().to(torch.uint8)
    return found


def _packed(weight: Tensor, bias: Tensor) -> Weights:
    """Turn a layer into 8 bits; rows of zeros get the scale 1."""
    scales = weight.abs().amax(1) / WEIGHT_LEVELS
    scales = torch.where(scales == 0, 1.0, scales)
    rounded = (weight / scales[:, None]).round_().to(torch.int8)
    packed = _operator("qlinear_prepack")(rounded, None)
    return packed, scales, torch.zeros(len(scales), dtype=torch.int64), bias.contiguous()


def _linear(
    values: Tensor,
    scale: float,
    zero: int,
    layer: Weights,
    post: str = "none",
    after: float | None = None,
) -> Tensor:
    """Apply a layer to 8-bit values; the result has 8 bits of scale `after`, or is float32."""
    dtype = torch.float32 if after is None else torch.uint8
    found: Tensor = _operator("qlinear_pointwise")(
        values, scale, zero, *layer, after or 1.0, 0, dtype, post, [], ""
    )
    return found


def _operator(name: str) -> Callable[..., Any]:
    """Find an operator of oneDNN; private to torch, which is why `is_fast` checks it."""
    found: Callable[..., Any] = getattr(torch.ops.onednn, name)
    return found


@cache
def is_fast() -> bool:
    """Say if 8-bit integers are faster than floats on this processor, and torch is right.

    The processor needs VNNI; the operators are tried on a small network.
    """
    if not getattr(torch.cpu, "_is_vnni_supported", lambda: False)():
        return False
    random = torch.Generator().manual_seed(0)
    sizes = [(48, 40), (6, 48)]
    flat = torch.randn(1, sum(n * m + n for n, m in sizes), generator=random)
    x = torch.randn(70, 40, generator=random)
    try:
        found = EightBitMlps(flat, sizes, [slice(2, 5)])(x)
    except (AttributeError, RuntimeError, TypeError):
        return False
    (first, bias), (last, last_bias) = layers_of(flat[0], sizes)
    exact = torch.relu(x @ first.T + bias) @ last.T + last_bias
    return found is not None and bool((found[0] - exact[:, 2:5]).std() < 0.03 * exact.std())
