"""Task embedding (and chunk embeddings) -> weights of a target network."""

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# In place: nothing else reads what they get, and hidden layers of past tasks are large.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "elu": partial(F.elu, inplace=True),
    "sigmoid": torch.sigmoid_,
}
Theta = list[Tensor]
LARGE = 100_000  # multiplications, of one replica: thousands of times what a call costs


def is_large(a: Tensor, b: Tensor) -> bool:
    """Whether the products of R replicas, (R, ..., n, m) and (R, m, p), are faster one by one.

    On the CPU a batched product first copies operands that are transposed or parts of others.
    """
    work = a[0].numel() * b.shape[-1]
    return a.device.type == "cpu" and work > LARGE


def product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """a @ b, as fast for R replicas, (R, n, m) and (R, m, p), as for one."""
    if b.ndim < 3 or not is_large(a, b):
        return torch.matmul(a, b, out=out)
    if out is None:
        out = a.new_empty(len(a), a.shape[1], b.shape[2])
    for one in zip(a, b, out, strict=True):
        torch.mm(one[0], one[1], out=one[2])
    return out


def output_layer(weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer, (C, H) and (C,), as `Hypernet.output` holds it: (H + 1, C), bias last.

    Outputs lie in a row: products with a few hidden units are twice as fast so, and the bias
    needs no code of its own.
    """
    return torch.cat([weight.T, bias[None]])


class GenerateWeights(torch.autograd.Function):
    """Features of every task and chunk times the output layer, cut to the weights that are needed.

    Written out because the cut is in the middle of a chunk: autograd would pad the gradient back
    to whole chunks and multiply the padding.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, output: Tensor, num_weights: int) -> Tensor:
        """(T, K, H + 1), (H + 1, C) -> (T, num_weights); or an output layer for each of the T."""
        ctx.save_for_backward(features, output)
        whole, rest = divmod(num_weights, output.shape[-1])
        weights = features.new_empty(len(features), num_weights)
        body = weights[:, : num_weights - rest].unflatten(1, (whole, -1)) if whole else None
        if body is not None:
            product(features[:, :whole], output, out=body)
        if rest:
            cut = weights[:, None, -rest:]
            product(features[:, whole:], output[..., :rest], out=cut)
        return weights

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        features, output = ctx.saved_tensors
        whole, rest = divmod(grad.shape[1], output.shape[-1])
        parts, grad_output = [], None
        if whole:
            body = grad[:, : grad.shape[1] - rest].unflatten(1, (whole, -1))
            parts.append(product(body, output.mT))
            grad_output = _for_output(features[:, :whole], body, output)
        if rest:
            cut = grad[:, None, -rest:]
            parts.append(product(cut, output[..., :rest].mT))
            by_rest = _for_output(features[:, whole:], cut, output)
            if grad_output is None:
                grad_output = F.pad(by_rest, (0, output.shape[-1] - rest))
            else:
                grad_output[..., :rest] += by_rest
        assert grad_output is not None
        return torch.cat(parts, dim=1), grad_output, None


def _for_output(features: Tensor, grad: Tensor, output: Tensor) -> Tensor:
    """Gradient for the output layer: over all rows, or of each replica's own."""
    if output.ndim == 3:
        return product(features.mT, grad)
    return features.flatten(0, 1).T @ grad.flatten(0, 1)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (T, K, n) through a layer; or x (R, T, K, n) through R layers, each its own."""
    if weight.ndim == 2:
        return F.linear(x, weight, bias)
    if is_large(x, weight.mT):
        biases = bias if bias is not None else [None] * len(x)
        return torch.stack([F.linear(*one) for one in zip(x, weight, biases, strict=True)])
    hidden = torch.bmm(x.flatten(1, 2), weight.mT).unflatten(1, x.shape[1:3])
    return hidden if bias is None else hidden + bias[:, None, None]


class Hypernet(nn.Module):
    """An MLP that maps (task embedding, chunk embedding) to one chunk of weights.

    von Oswald et al. (2020), sections 2 and 3; the last chunk is cut to fit. `chunk_size` 0 is the
    full hypernetwork: one chunk with all weights, and no chunk embedding.
    Matrices start Xavier-uniform, biases at 0, chunk embeddings N(0, 1), as the authors' code has.

    Args:
        num_weights: how many weights to generate.
        embedding_size: numbers per task embedding.
        chunk_embedding_size: numbers per chunk embedding.
        chunk_size: weights per chunk; 0 or >= num_weights for all at once.
        hidden_sizes: hidden layers; empty for a linear hypernetwork.
        activation: relu, elu or sigmoid.
        init: "xavier", or "torch" for its layers' own.
    """

    def __init__(
        self,
        num_weights: int,
        embedding_size: int,
        chunk_embedding_size: int,
        chunk_size: int,
        hidden_sizes: tuple[int, ...],
        activation: str,
        init: str = "xavier",
    ) -> None:
        super().__init__()
        is_full = chunk_size == 0 or chunk_size >= num_weights
        self.num_weights = num_weights
        self.embedding_size = embedding_size
        self.chunk_size = num_weights if is_full else chunk_size
        self.num_chunks = ceil(num_weights / self.chunk_size)
        self.activation = ACTIVATIONS[activation]
        chunk_inputs = 0 if is_full else chunk_embedding_size
        self.chunk_embeddings = nn.Parameter(torch.randn(self.num_chunks, chunk_inputs))
        sizes = [embedding_size + chunk_inputs, *hidden_sizes, self.chunk_size]
        layers = [nn.Linear(n, m) for n, m in zip(sizes, sizes[1:], strict=False)]
        for layer in layers if init == "xavier" else ():
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        last = layers.pop()
        self.layers = nn.ModuleList(layers)  # hidden ones
        self.output = nn.Parameter(output_layer(last.weight, last.bias).detach())

    def theta(self) -> Theta:
        """All parameters shared by the tasks: chunk embeddings, then weight, bias of each hidden
        layer, then the output layer.

        Every method here takes such a list, so that it can run at other values than its own.
        """
        return [self.chunk_embeddings, *self.layers.parameters(), self.output]

    def features(
        self, embeddings: Tensor, theta: Theta | None = None, chunks_first: bool = False
    ) -> Tensor:
        """Last hidden layer for every task and chunk.

        The first layer is split, W [e, c] = W_e e + W_c c, so that its cost does not grow with
        tasks x chunks.

        Args:
            embeddings: (T, embedding_size).
            theta: parameters to use instead of the own ones (the output layer is not read),
                perhaps with some of the chunk embeddings alone. With those of R replicas, each
                stacked, embeddings and result have that dimension too.
            chunks_first: put the dimension of chunks before that of tasks.

        Returns:
            (T, num_chunks, H), or (num_chunks, T, H); for a linear hypernetwork the inputs
            themselves.
        """
        chunks, *layers, _ = self.theta() if theta is None else theta
        along_tasks, along_chunks = (-3, -2) if chunks_first else (-2, -3)
        tasks, chunks = embeddings.unsqueeze(along_tasks), chunks.unsqueeze(along_chunks)
        if not layers:
            shape = torch.broadcast_shapes(tasks.shape[:-1], chunks.shape[:-1])
            return torch.cat([tasks.expand(*shape, -1), chunks.expand(*shape, -1)], dim=-1)
        by_task, by_chunk = layers[0].split([self.embedding_size, chunks.shape[-1]], dim=-1)
        hidden = _linear(tasks, by_task, layers[1]) + _linear(chunks, by_chunk)
        hidden = self.activation(hidden)
        for weight, bias in zip(layers[2::2], layers[3::2], strict=True):
            hidden = self.activation(_linear(hidden, weight, bias))
        return hidden

    def forward(self, embeddings: Tensor, theta: Theta | None = None) -> Tensor:
        """Generate the target weights of all asked tasks in one batched call.

        Args:
            embeddings: (T, embedding_size).
            theta: parameters to use instead of the own ones.

        Returns:
            (T, num_weights)
        """
        theta = self.theta() if theta is None else theta
        features = F.pad(self.features(embeddings, theta), (0, 1), value=1.0)
        return GenerateWeights.apply(features, theta[-1], self.num_weights)
