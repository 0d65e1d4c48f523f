"""A hypernetwork: task embedding (and chunk embeddings) -> weights of a target network."""

from collections.abc import Callable
from itertools import pairwise
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Theta = list[Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
}


def output_layer(weight: Tensor, bias: Tensor) -> Tensor:
    """Arrange a linear layer, (C, H) and (C,), as `Hypernet.output` has it: (H + 1, C), bias last.

    With a 1 appended to the H features the bias needs no code of its own, and products with a few
    hidden units are twice as fast where each unit's outputs lie in a row.
    """
    return torch.cat([weight.T, bias[None]])


class Hypernet(nn.Module):
    """An MLP that maps (task embedding, chunk embedding) to one chunk of weights.

    von Oswald et al. (2020), sections 2 and 3; the last chunk is cut to fit. `chunk_size` 0 is the
    full hypernetwork: one chunk with all weights, and no chunk embedding.
    Matrices start Xavier-uniform, biases at 0, chunk embeddings N(0, 1), as in the authors' code.

    Args:
        num_weights: how many weights to generate.
        embedding_size: numbers per task embedding.
        chunk_embedding_size: numbers per chunk embedding.
        chunk_size: weights per chunk; 0 or >= num_weights for all at once.
        hidden_sizes: hidden layers; empty for a linear hypernetwork.
        activation: relu, elu or sigmoid.
        init: "torch" for its layers' own; else Xavier, see initial.py for what may replace it.
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
        self.activation = activation
        chunk_inputs = 0 if is_full else chunk_embedding_size
        self.chunk_embeddings = nn.Parameter(torch.randn(self.num_chunks, chunk_inputs))
        sizes = [embedding_size + chunk_inputs, *hidden_sizes, self.chunk_size]
        layers = [nn.Linear(n, m) for n, m in pairwise(sizes)]
        for layer in layers if init != "torch" else ():
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        last = layers.pop()
        self.layers = nn.ModuleList(layers)  # hidden ones
        self.output = nn.Parameter(output_layer(last.weight, last.bias).detach())

    def theta(self) -> Theta:
        """List all parameters that the tasks share.

        These are the chunk embeddings, then weight and bias of each hidden layer, then the output
        layer. Every method here takes such a list, to run at other values than its own.
        """
        return [self.chunk_embeddings, *self.layers.parameters(), self.output]

    def features(self, embeddings: Tensor, theta: Theta | None = None) -> Tensor:
        """Compute the last hidden layer for every task and chunk, with a 1 appended.

        Args:
            embeddings: (T, embedding_size).
            theta: parameters to use instead of the own ones; the output layer is not read.

        Returns:
            (T, num_chunks, H + 1); for a linear hypernetwork H is the size of the inputs.
        """
        chunks, *layers, _ = self.theta() if theta is None else theta
        shape = (len(embeddings), len(chunks), -1)
        h = torch.cat([embeddings[:, None].expand(shape), chunks.expand(shape)], dim=-1)
        for weight, bias in zip(layers[::2], layers[1::2], strict=True):
            h = ACTIVATIONS[self.activation](F.linear(h, weight, bias))
        return F.pad(h, (0, 1), value=1.0)

    def forward(self, embeddings: Tensor, theta: Theta | None = None) -> Tensor:
        """Generate the target weights of all tasks asked for.

        Args:
            embeddings: (T, embedding_size).
            theta: parameters to use instead of the own ones.

        Returns:
            (T, num_weights)
        """
        *_, output = self.theta() if theta is None else theta
        chunks = self.features(embeddings, theta) @ output
        return chunks.flatten(1)[:, : self.num_weights]
