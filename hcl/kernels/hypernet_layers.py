"""The layers of a hypernetwork, with their gradients written out.

`generate` computes what `Hypernet.forward` does. Autograd's bookkeeping costs more than the
hidden layers' products where these are small, as in most hypernetworks, and a training step goes
through them twice: for the current task and for the past ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.kernels.matmul import product, replica_linear

Theta = list[Tensor]


class Shape(Protocol):
    """Sizes and activation of a hypernetwork, as a `Hypernet` has them."""

    num_weights: int
    chunk_size: int
    num_chunks: int
    activation: str


@dataclass(frozen=True)
class Activation:
    """A function that may work in place, and its gradient."""

    apply: Callable[[Tensor], Tensor]
    # (gradient for the results, which is overwritten, results) -> gradient for the inputs
    backward: Callable[[Tensor, Tensor], Tensor]
    # The gradient depends on the results' signs alone, so that rounded results are enough.
    needs_sign: bool = False


_aten = torch.ops.aten
# In place, because nothing else reads these tensors and the layers of all past tasks are large.
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


def generate(shape: Shape, embeddings: Tensor, theta: Theta) -> Tensor:
    """Generate the weights of all tasks asked for; differentiable, same as `Hypernet.forward`.

    Args:
        shape: the hypernetwork, or anything of its shape.
        embeddings: (T, embedding_size).
        theta: parameters as `Hypernet.theta` lists them.

    Returns:
        (T, num_weights)
    """
    *lower, output = theta
    features = Hidden.of(embeddings, lower, shape.activation).layers[-1]
    weights: Tensor = ThroughOutput.apply(with_one(features), output, shape.num_weights)
    return weights


def with_one(features: Tensor) -> Tensor:
    """Append a column of ones, which multiplies the bias: (..., H) -> (..., H + 1)."""
    return F.pad(features, (0, 1), value=1.0)


def through_output(features: Tensor, output: Tensor, num_weights: int) -> Tensor:
    """Multiply features by the output layer, but leave out what the last chunk has too much.

    Args:
        features: (T, K, H + 1), of T tasks and K chunks.
        output: (H + 1, C); or (T, H + 1, C), a layer for each of the T.
        num_weights: how many of the K C results to compute.

    Returns:
        (T, num_weights)
    """
    whole, rest = divmod(num_weights, output.shape[-1])
    weights = features.new_empty(len(features), num_weights)
    if whole:
        body = weights[:, : num_weights - rest].unflatten(1, (whole, -1))
        product(features[:, :whole], output, out=body)
    if rest:
        product(features[:, whole:], output[..., :rest], out=weights[:, None, -rest:])
    return weights


def gradient_for_features(grad: Tensor, output: Tensor) -> Tensor:
    """Compute (T, K, H + 1) from the gradient for the result of `through_output`."""
    whole, rest = divmod(grad.shape[1], output.shape[-1])
    parts = []
    if whole:
        body = grad[:, : grad.shape[1] - rest].unflatten(1, (whole, -1))
        parts.append(product(body, output.mT))
    if rest:
        parts.append(product(grad[:, None, -rest:], output[..., :rest].mT))
    return torch.cat(parts, dim=1)


class ThroughOutput(torch.autograd.Function):
    """Makes `through_output` differentiable.

    Written out because the cut is in the middle of a chunk: autograd would pad the gradient to
    whole chunks with zeros and multiply these too.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, output: Tensor, num_weights: int) -> Tensor:
        """Compute the weights; arguments as `through_output`'s."""
        ctx.save_for_backward(features, output)
        return through_output(features, output, num_weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """Compute the gradients for features and output layer."""
        features, output = ctx.saved_tensors
        whole, rest = divmod(grad.shape[1], output.shape[-1])
        grad_output = None
        if whole:
            body = grad[:, : grad.shape[1] - rest].unflatten(1, (whole, -1))
            grad_output = _gradient_for_output(features[:, :whole], body, output)
        if rest:
            by_rest = _gradient_for_output(features[:, whole:], grad[:, None, -rest:], output)
            if grad_output is None:
                grad_output = F.pad(by_rest, (0, output.shape[-1] - rest))
            else:
                grad_output[..., :rest] += by_rest
        assert grad_output is not None
        return gradient_for_features(grad, output), grad_output, None


def _gradient_for_output(features: Tensor, grad: Tensor, output: Tensor) -> Tensor:
    """Sum over all rows for one output layer, over each replica's own rows for several."""
    if output.ndim == 3:
        return product(features.mT, grad)
    return features.flatten(0, 1).T @ grad.flatten(0, 1)


@dataclass(frozen=True)
class Hidden:
    """Values of the hidden layers for T tasks and K chunks, kept for the gradient.

    The first layer is split, W [e, c] = W_e e + W_c c, so that its cost grows with T + K instead
    of T K. With R replicas every tensor has that dimension before its own.
    """

    embeddings: Tensor  # (T, embedding_size)
    lower: Theta  # chunk embeddings (K, n), then weight and bias of each hidden layer
    activation: Activation
    chunks_first: bool
    layers: list[Tensor]  # (T, K, n) each, or (K, T, n); the inputs if there is no hidden layer

    @staticmethod
    def of(
        embeddings: Tensor,
        lower: Theta,
        activation: str,
        chunks_first: bool = False,
        kept: torch.dtype | None = None,
    ) -> "Hidden":
        """Run the layers.

        Args:
            embeddings: (T, embedding_size).
            lower: all parameters but the output layer.
            activation: a key of ACTIVATIONS.
            chunks_first: put the dimension of chunks before that of tasks.
            kept: type in which layers below the last are kept, for half the memory traffic. Used
                only for activations whose gradient depends on signs: an ELU or sigmoid near its
                limits would be rounded to the limit, where the gradient is 0.
        """
        function = ACTIVATIONS[activation]
        along_tasks, along_chunks = (-3, -2) if chunks_first else (-2, -3)
        tasks, chunks = embeddings.unsqueeze(along_tasks), lower[0].unsqueeze(along_chunks)
        made: list[Tensor] = []
        if len(lower) == 1:
            shape = torch.broadcast_shapes(tasks.shape[:-1], chunks.shape[:-1])
            made.append(torch.cat([tasks.expand(*shape, -1), chunks.expand(*shape, -1)], dim=-1))
        for weight, bias in zip(lower[1::2], lower[2::2], strict=True):
            if made:
                layer = function.apply(replica_linear(made[-1], weight, bias))
                if function.needs_sign:
                    made[-1] = made[-1].to(kept or layer.dtype)
            else:
                by_task, by_chunk = weight.split([tasks.shape[-1], chunks.shape[-1]], dim=-1)
                hidden = replica_linear(tasks, by_task, bias) + replica_linear(chunks, by_chunk)
                layer = function.apply(hidden)
            made.append(layer)
        return Hidden(embeddings, lower, function, chunks_first, made)

    def gradients(self, grad: Tensor) -> tuple[Theta, Tensor]:
        """Compute the gradients for `lower` and for `embeddings`.

        Args:
            grad: gradient for the last layer; it may be overwritten. Its type, perhaps bfloat16,
                is that of all products here; the results have the parameters' type.
        """
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
        # The split first layer: sum first, then multiply T and K rows instead of T K.
        of_tasks, of_chunks = (_sum(grad, dim).to(dtype) for dim in (over_chunks, over_tasks))
        chunks, first = self.lower[:2]
        by_task, by_chunk = first.split([self.embeddings.shape[-1], chunks.shape[-1]], dim=-1)
        grad_first = [product(of_tasks.mT, self.embeddings), product(of_chunks.mT, chunks)]
        found = [torch.cat(grad_first, dim=-1), of_tasks.sum(-2), *found]
        return [product(of_chunks, by_chunk), *found], product(of_tasks, by_task)

    def _through_activation(self, grad: Tensor, i: int) -> Tensor:
        """Turn the gradient for a layer's results into that for its sums, in the same type."""
        layer, rough = self.layers[i], grad.dtype
        if self.activation.needs_sign:
            return self.activation.backward(grad, layer.to(rough))
        return self.activation.backward(grad.to(layer.dtype), layer).to(rough)


def _sum(a: Tensor, dim: int) -> Tensor:
    """Sum over dimension -2 or -3.

    In bfloat16 a product with ones does it: `sum` would first convert the whole tensor.
    """
    if a.dtype != torch.bfloat16:
        return a.sum(dim)
    ones = a.new_ones(a.shape[dim])
    return ones @ a if dim == -2 else (ones @ a.flatten(-2)).unflatten(-1, a.shape[-2:])
