"""Task embedding (and chunk embeddings) -> weights of a target network."""

from math import ceil
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcl.kernels.hidden_layers import ACTIVATIONS, Hidden, Theta, product


def output_layer(weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer, (C, H) and (C,), as `Hypernet.output` holds it: (H + 1, C), bias last.

    Outputs lie in a row: products with a few hidden units are twice as fast so, and the bias
    needs no code of its own.
    """
    return torch.cat([weight.T, bias[None]])


def generate(features: Tensor, output: Tensor, num_weights: int) -> Tensor:
    """Features of tasks and chunks times the output layer, cut to the weights that are needed.

    Args:
        features: (T, K, H + 1).
        output: (H + 1, C), or (T, H + 1, C).
        num_weights: of the (K C) columns.

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
    """(T, K, H + 1) from the gradient of what `generate` gave."""
    whole, rest = divmod(grad.shape[1], output.shape[-1])
    parts = []
    if whole:
        body = grad[:, : grad.shape[1] - rest].unflatten(1, (whole, -1))
        parts.append(product(body, output.mT))
    if rest:
        parts.append(product(grad[:, None, -rest:], output[..., :rest].mT))
    return torch.cat(parts, dim=1)


class GenerateWeights(torch.autograd.Function):
    """`generate`, differentiable.

    Written out because the cut is in the middle of a chunk: autograd would pad the gradient back
    to whole chunks and multiply the padding.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, output: Tensor, num_weights: int) -> Tensor:
        """(T, K, H + 1), (H + 1, C) -> (T, num_weights); or an output layer for each of the T."""
        ctx.save_for_backward(features, output)
        return generate(features, output, num_weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        features, output = ctx.saved_tensors
        whole, rest = divmod(grad.shape[1], output.shape[-1])
        grad_output = None
        if whole:
            body = grad[:, : grad.shape[1] - rest].unflatten(1, (whole, -1))
            grad_output = _for_output(features[:, :whole], body, output)
        if rest:
            by_rest = _for_output(features[:, whole:], grad[:, None, -rest:], output)
            if grad_output is None:
                grad_output = F.pad(by_rest, (0, output.shape[-1] - rest))
            else:
                grad_output[..., :rest] += by_rest
        assert grad_output is not None
        return gradient_for_features(grad, output), grad_output, None


def _for_output(features: Tensor, grad: Tensor, output: Tensor) -> Tensor:
    """Gradient for the output layer: over all rows, or of each replica's own."""
    if output.ndim == 3:
        return product(features.mT, grad)
    return features.flatten(0, 1).T @ grad.flatten(0, 1)


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
        *lower, _ = self.theta() if theta is None else theta
        return Hidden.of(embeddings, lower, self.activation, chunks_first).layers[-1]

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
