"""Sums over samples of what each sample's own gradient makes, parameter by parameter."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from hcl.networks.target import is_linear

# Per-sample gradients held at once on the general path: bounds memory, not results.
SAMPLES_AT_ONCE = 16

# Gives each sample's number, (B,), from the outputs (B, O) and a label for each, int64 (B,).
Score = Callable[[Tensor, Tensor], Tensor]


def sum_gradients(
    network: nn.Module,
    x: Tensor,
    score: Score,
    size: Callable[[Tensor], Tensor],
    labels: Tensor,
    weight: Tensor,
) -> dict[str, Tensor]:
    """Compute sum_n w_n size(d score_n / d theta_i), the quick way where that is exact.

    Args:
        network: run in its current mode.
        x: (B, ...).
        score: what is differentiated.
        size: of a gradient's entries: `Tensor.square` or `Tensor.abs`, functions of a product
            that are products of the functions.
        labels: handed to `score`.
        weight: w, (B,).

    Returns:
        A tensor of the parameter's shape for every parameter name.
    """
    found = None
    if is_linear(network):
        found = _sum_linear(network, x, score, size, labels, weight)
    return found or _sum_general(network, x, score, size, labels, weight)


def _sum_linear(
    network: nn.Module,
    x: Tensor,
    score: Score,
    size: Callable[[Tensor], Tensor],
    labels: Tensor,
    weight: Tensor,
) -> dict[str, Tensor] | None:
    """Compute the sums where every parameter is a Linear layer's.

    For one sample the gradient of W is delta a^T, with input a and gradient delta of the layer's
    output; its size is size(delta) size(a)^T, so the sum over a batch is one matrix product.

    Returns:
        The sums; None where a layer does not see exactly one vector per sample (a layer used twice
        or over tokens), because sizes of sums are not sums of sizes.
    """
    found: dict[str, tuple[nn.Linear, Tensor, Tensor]] = {}
    calls = []

    def record(name: str) -> Callable[..., Tensor]:
        def hook(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            calls.append(inputs[0].ndim)
            # its own type: the network may compute in bfloat16 (hcl/networks/precision.py)
            found[name] = (layer, inputs[0].detach().to(layer.weight.dtype), output)
            return output.clone()  # an in-place activation must not change what is recorded

        return hook

    hooks = [
        m.register_forward_hook(record(n))
        for n, m in network.named_modules()
        if isinstance(m, nn.Linear)
    ]
    try:
        total = score(network(x), labels).sum()
    finally:
        for hook in hooks:
            hook.remove()
    if calls != [2] * len(hooks):
        return None
    deltas = torch.autograd.grad(total, [output for _, _, output in found.values()])
    sums = {}
    for (name, (layer, a, _)), delta in zip(found.items(), deltas, strict=True):
        weighted = size(delta.to(a.dtype)) * weight[:, None]
        prefix = f"{name}." if name else ""
        sums[f"{prefix}weight"] = weighted.T @ size(a)
        if layer.bias is not None:
            sums[f"{prefix}bias"] = weighted.sum(0)
    return sums


def _sum_general(
    network: nn.Module,
    x: Tensor,
    score: Score,
    size: Callable[[Tensor], Tensor],
    labels: Tensor,
    weight: Tensor,
) -> dict[str, Tensor]:
    """Compute the sums for any network, by vmap over samples."""
    params = {name: p.detach() for name, p in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def its_score(weights: dict[str, Tensor], one: Tensor, its_label: Tensor) -> Tensor:
        outputs = functional_call(network, {**weights, **buffers}, (one[None],), strict=True)
        return score(outputs, its_label[None])[0]

    per_sample = vmap(grad(its_score), in_dims=(None, 0, 0))
    total = {name: torch.zeros_like(p) for name, p in params.items()}
    parts = zip(*(t.split(SAMPLES_AT_ONCE) for t in (x, labels, weight)), strict=True)
    for some_x, some_labels, some_weight in parts:
        for name, g in per_sample(params, some_x, some_labels).items():
            total[name] += torch.tensordot(some_weight, size(g), dims=1)
    return total
