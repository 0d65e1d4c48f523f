"""The diagonal of the Fisher information matrix, from per-sample gradients."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from hcl.methods.per_sample import sum_gradients


def diagonal_fisher(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    active: slice,
    labels: str = "predicted",
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Average the squared gradient of log p(label | x) over samples, parameter by parameter.

    F_i = 1/N sum_n (d log p(y_n | x_n) / d theta_i)^2, with each sample's own gradient: that of a
    mini-batch mean would depend on the batch size. Labels y_n, by the setting `fisher_labels`:

    - `predicted`: the network's most likely one, as in van de Ven & Tolias (2019).
    - `sampled`: one draw from the network's output, as in Kirkpatrick et al. (2017).
    - `true`: the data's label (the "empirical Fisher").
    - `expected`: the exact expectation over the output distribution (Martens, 2020, section 9).

    Args:
        network: run in its current mode.
        batches: (x, y), y the index of each sample's right output unit, int64 (B,).
        active: the output units in the softmax.
        labels: see above.
        generator: CPU generator, read for `sampled` alone.

    Returns:
        A tensor of the parameter's shape for every parameter name.
    """
    total = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    count = 0
    for x, y in batches:
        with torch.no_grad():
            log_p = network(x)[:, active].log_softmax(dim=1)
        count += len(x)
        for chosen, weight in _labels(log_p, y - active.start, labels, generator):
            squares = sum_gradients(network, x, _Likelihood(active), Tensor.square, chosen, weight)
            for name, square in squares.items():
                total[name] += square
    return {name: square / max(count, 1) for name, square in total.items()}


class _Likelihood:
    """Log-likelihood of each sample's label, from all outputs."""

    def __init__(self, active: slice) -> None:
        self.active = active

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return -F.cross_entropy(outputs[:, self.active], labels, reduction="none")


def gaussian_fisher(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], labels: str
) -> dict[str, Tensor]:
    """Estimate the diagonal Fisher of a regression, p(y | x) = N(network(x), I).

    The gradient of log p for one sample is that of -(f - y)^T f with f - y held constant. Its
    squares are averaged over samples: with the data's y (`true`, the authors' toy example), or in
    expectation over y (`expected`), F_i = 1/N sum_n sum_k (d f_k(x_n) / d theta_i)^2.

    Args:
        network: run in its current mode.
        batches: (x, y), y of the network's output shape.
        labels: true or expected.

    Returns:
        A tensor of the parameter's shape for every parameter name.
    """
    params = {name: p.detach() for name, p in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def projected(weights: dict[str, Tensor], one: Tensor, direction: Tensor) -> Tensor:
        outputs = functional_call(network, {**weights, **buffers}, (one[None],), strict=True)
        return (outputs[0] * direction).sum()

    per_sample = vmap(grad(projected), in_dims=(None, 0, 0))
    total = {name: torch.zeros_like(p) for name, p in params.items()}
    count = 0
    for x, y in batches:
        count += len(x)
        if labels == "true":
            with torch.no_grad():
                directions = [network(x) - y]
        else:
            directions = [unit.expand(len(x), -1) for unit in torch.eye(y.shape[1]).to(x)]
        for direction in directions:
            for name, g in per_sample(params, x, direction).items():
                total[name] += g.square().sum(0)
    return {name: square / max(count, 1) for name, square in total.items()}


def _labels(
    log_p: Tensor, y: Tensor, kind: str, generator: torch.Generator | None
) -> list[tuple[Tensor, Tensor]]:
    """Choose labels: a list of (int64 (B,) label of each sample, (B,) weights of the squares)."""
    ones = torch.ones(len(y), device=y.device, dtype=log_p.dtype)
    if kind == "true":
        return [(y, ones)]
    if kind == "predicted":
        return [(log_p.argmax(dim=1), ones)]
    if kind == "sampled":
        drawn = torch.multinomial(log_p.exp().cpu(), 1, generator=generator)[:, 0]
        return [(drawn.to(y.device), ones)]
    classes = range(log_p.shape[1])
    return [(torch.full_like(y, c), log_p[:, c].exp()) for c in classes]
