"""The hidden layers of a hypernetwork, with their gradient written out.

Autograd's bookkeeping costs more than these layers' products where they are small, as in most
hypernetworks, and a step goes through them twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.kernels.matmul import linear

Theta = list[Tensor]
Backward = Callable[[Tensor, Tensor], Tensor]
LARGE = 100_000  # multiplications, of one replica: thousands of times what a call costs


@dataclass(frozen=True)
class Activation:
    """A function, which may work in place, and its gradient."""

    apply: Callable[[Tensor], Tensor]
    backward: Backward  # from the gradient of the result, which is overwritten, and the result
    needs_sign: bool = False  # alone, of the result: so a rounded one will do


_aten = torch.ops.aten
# In place: nothing else reads what they get, and hidden layers of past tasks are large.
ACTIVATIONS = {
    "relu": Activation(
        torch.relu_,
        lambda g, y: _aten.threshold_backward.grad_input(g, y, 0, grad_input=g),
        needs_sign=True,
    ),
    "elu": Activation(
        partial(F.elu, inplace=True),
        lambda g, y: _aten.elu_backward.grad_input(g, 1.0, 1.0, 1.0, True, y, grad_input=g),
    ),
    "sigmoid": Activation(
        torch.sigmoid_, lambda g, y: _aten.sigmoid_backward.grad_input(g, y, grad_input=g)
    ),
}


def is_large(a: Tensor, b: Tensor) -> bool:
    """Whether the products of R replicas, (R, ..., n, m) and (R, m, p), are faster one by one.

    On the CPU a batched product first copies operands that are transposed or parts of others.
    """
    work = a[0].numel() * b.shape[-1]
    return a.device.type == "cpu" and work > LARGE


def product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """a @ b, as fast for R replicas, (R, n, m) and (R, m, p) or the same (m, p), as for one."""
    if a.ndim < 3 or len(a) < 2 or not is_large(a, b):
        return torch.matmul(a, b, out=out)
    if out is None:
        out = a.new_empty(len(a), a.shape[1], b.shape[-1])
    each = b if b.ndim == 3 else [b] * len(a)
    for one in zip(a, each, out, strict=True):
        torch.mm(one[0], one[1], out=one[2])
    return out


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (A, B, n) through a layer; or x (R, A, B, n) through R layers, each its own."""
    if weight.ndim == 2:
        return linear(x, weight, bias)
    if is_large(x, weight.mT):
        biases = bias if bias is not None else [None] * len(x)
        return torch.stack([linear(*one) for one in zip(x, weight, biases, strict=True)])
    hidden = torch.bmm(x.flatten(1, 2), weight.mT).unflatten(1, x.shape[1:3])
    return hidden if bias is None else hidden + bias[:, None, None]


def _sum(a: Tensor, dim: int) -> Tensor:
    """Over dimension -2 or -3: as a product where a sum would first convert all of it."""
    if a.dtype != torch.bfloat16:
        return a.sum(dim)
    ones = a.new_ones(a.shape[dim])
    return ones @ a if dim == -2 else (ones @ a.flatten(-2)).unflatten(-1, a.shape[-2:])


@dataclass(frozen=True)
class Hidden:
    """Values of the hidden layers for tasks and chunks.

    The first layer is split, W [e, c] = W_e e + W_c c, so that its cost does not grow with
    tasks x chunks. With R replicas everything has that dimension before its own.

    Layers below the last may be kept in bfloat16: enough for a ReLU's gradient, if that is too. An
    ELU or sigmoid near its limits would be rounded to it.
    """

    embeddings: Tensor  # (T, embedding_size)
    lower: Theta  # chunk embeddings (K, n), then weight and bias of each layer
    activation: Activation
    chunks_first: bool
    layers: list[Tensor]  # (T, K, n) each, or (K, T, n); without layers the inputs

    @staticmethod
    def of(
        embeddings: Tensor,
        lower: Theta,
        activation: Activation,
        chunks_first: bool = False,
        kept: torch.dtype | None = None,
    ) -> "Hidden":
        """Run the layers; arguments as the fields, `kept` is the type of layers below the last."""
        along_tasks, along_chunks = (-3, -2) if chunks_first else (-2, -3)
        tasks, chunks = embeddings.unsqueeze(along_tasks), lower[0].unsqueeze(along_chunks)
        made: list[Tensor] = []
        if len(lower) == 1:
            shape = torch.broadcast_shapes(tasks.shape[:-1], chunks.shape[:-1])
            made.append(torch.cat([tasks.expand(*shape, -1), chunks.expand(*shape, -1)], dim=-1))
        for weight, bias in zip(lower[1::2], lower[2::2], strict=True):
            if made:
                layer = activation.apply(_linear(made[-1], weight, bias))
                if activation.needs_sign:
                    made[-1] = made[-1].to(kept or layer.dtype)
            else:
                by_task, by_chunk = weight.split([tasks.shape[-1], chunks.shape[-1]], dim=-1)
                hidden = _linear(tasks, by_task, bias) + _linear(chunks, by_chunk)
                layer = activation.apply(hidden)
            made.append(layer)
        return Hidden(embeddings, lower, activation, chunks_first, made)

    def _through_activation(self, grad: Tensor, i: int) -> Tensor:
        """From the gradient of a layer's values that of its sums, in the same type."""
        layer, rough = self.layers[i], grad.dtype
        if self.activation.needs_sign:
            return self.activation.backward(grad, layer.to(rough))
        return self.activation.backward(grad.to(layer.dtype), layer).to(rough)

    def gradients(self, grad: Tensor) -> tuple[Theta, Tensor]:
        """From the gradient of the last layer, which may be overwritten, those of `lower` and of
        `embeddings`. Products have its type; results have that of the parameters."""
        over_tasks, over_chunks = (-2, -3) if self.chunks_first else (-3, -2)
        dtype, rough = self.embeddings.dtype, grad.dtype
        if not len(self.lower) > 1:
            size = self.embeddings.shape[-1]
            of_tasks, of_chunks = grad[..., :size], grad[..., size:]
            return [_sum(of_chunks, over_tasks).to(dtype)], _sum(of_tasks, over_chunks).to(dtype)
        found: Theta = []
        weights = self.lower[1::2]
        for i in reversed(range(1, len(weights))):
            grad = self._through_activation(grad, i)
            rows, below = grad.flatten(-3, -2), self.layers[i - 1].to(rough)
            of_weight = product(rows.mT, below.flatten(-3, -2)).to(dtype)
            found = [of_weight, _sum(rows, -2).to(dtype), *found]
            grad = product(rows, weights[i].to(rough)).view_as(below)
        grad = self._through_activation(grad, 0)
        of_tasks, of_chunks = (_sum(grad, dim).to(dtype) for dim in (over_chunks, over_tasks))
        chunks, first = self.lower[:2]
        by_task, by_chunk = first.split([self.embeddings.shape[-1], chunks.shape[-1]], dim=-1)
        grad_first = [product(of_tasks.mT, self.embeddings), product(of_chunks.mT, chunks)]
        found = [torch.cat(grad_first, dim=-1), of_tasks.sum(-2), *found]
        return [product(of_chunks, by_chunk), *found], product(of_tasks, by_task)
