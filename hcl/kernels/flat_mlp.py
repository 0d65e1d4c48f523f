"""A fully connected network whose weights are one vector, and so is their gradient."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hcl.kernels.matmul import linear

Sizes = list[tuple[int, int]]  # (outputs, inputs) of each layer


def sizes_of(module: nn.Module) -> Sizes | None:
    """Give the layers' sizes, or None unless the module is linear layers with ReLUs between."""
    layers = list(module) if isinstance(module, nn.Sequential) else []
    if layers and isinstance(layers[0], nn.Flatten) and layers[0].start_dim == 1:
        layers = layers[1:]
    linear, between = layers[::2], layers[1::2]
    if not linear or len(linear) != len(between) + 1:
        return None
    if not all(type(layer) is nn.ReLU for layer in between):
        return None
    sizes = []
    for layer in linear:
        if type(layer) is not nn.Linear or layer.bias is None:
            return None
        sizes.append((layer.out_features, layer.in_features))
    return sizes


def layers_of(flat: Tensor, sizes: Sizes) -> list[tuple[Tensor, Tensor]]:
    """Split the vector into (weight, bias) of each layer; they are views."""
    parts = flat.split([n for rows, columns in sizes for n in (rows * columns, rows)])
    weights = [part.view(size) for part, size in zip(parts[::2], sizes, strict=True)]
    return list(zip(weights, parts[1::2], strict=True))


def run(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> list[Tensor]:
    """Run the layers, with ReLUs between; gives the inputs (B, ...) as rows and every result."""
    hidden = [x.flatten(1)]
    for weight, bias in layers:
        is_last = len(hidden) == len(layers)
        found = linear(hidden[-1], weight, bias)
        hidden.append(found if is_last else found.relu_())
    return hidden


class FlatMlp(torch.autograd.Function):
    """Maps inputs (B, ...) and weights (num_weights,) to (B, outputs); differentiable once.

    Written out because autograd computes each layer's gradient separately and then copies all of
    them into the vector's. Here the products write to their places in that vector.
    """

    @staticmethod
    def forward(ctx: Any, flat: Tensor, x: Tensor, sizes: Sizes) -> Tensor:
        """Run the network and keep what the gradient needs."""
        ctx.sizes, ctx.shape = sizes, x.shape
        hidden = run(layers_of(flat, sizes), x)
        ctx.save_for_backward(flat, *hidden[:-1])
        return hidden[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """Compute the gradients for the weights and, if asked for, the inputs."""
        flat, *hidden = ctx.saved_tensors
        grad_flat = torch.empty_like(flat)
        ours, theirs = layers_of(flat, ctx.sizes), layers_of(grad_flat, ctx.sizes)
        for i in reversed(range(len(hidden))):
            grad_weight, grad_bias = theirs[i]
            torch.mm(grad.T, hidden[i], out=grad_weight)
            torch.sum(grad, 0, out=grad_bias)
            if i > 0:
                grad = torch.ops.aten.threshold_backward(grad @ ours[i][0], hidden[i], 0)
        if not ctx.needs_input_grad[1]:
            return grad_flat, None, None
        return grad_flat, (grad @ ours[0][0]).view(ctx.shape), None
