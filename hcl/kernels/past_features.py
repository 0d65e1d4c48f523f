"""The last hidden layer of past tasks: A* when the task began, and its change D since.

What this saves against `hcl/hypernets/output_regularizer.py`: A* is computed once per task and
stays in memory with room for D beside it, so that D' [D, A*] and [D, A*] F are one product each;
hidden layers have written-out gradients; large products can be in bfloat16.
"""

from collections.abc import Callable
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.kernels.hypernet_layers import ACTIVATIONS, Hidden, Theta, with_one
from hcl.kernels.matmul import bfloat16_product, product

# Numbers in the last hidden layer, over tasks and chunks, up to which all hidden layers are kept
# for the gradient. Above, blocks of chunks are run one after the other, and run again for the
# gradient. This bounds memory and changes no result. Smaller blocks, which would fit the
# processor's cache, are slower because their products are.
FEATURES_AT_ONCE = 2**24
# From FILLED_FROM hidden units on, rows are filled up with zeros to a multiple of ROW_BYTES:
# products of such rows are up to 6% faster, those of narrower ones slower.
FILLED_FROM, ROW_BYTES = 128, 64

Select = Callable[[Tensor, int], Tensor]
Regions = tuple[slice, slice]


class PastFeatures:
    """Features of t past tasks and K chunks.

    With R replicas every tensor has that dimension before its own.

    Args:
        embeddings: (t, embedding_size).
        start: A* (K, t, H), chunks first; it is copied.
        regions: two ranges of chunks, one after the other; later chunks take part in no product.
        activation: name of the hidden layers' activation.
        is_bfloat16: multiply in bfloat16. The features themselves stay in float32, because D is a
            small difference of two of them.
        kept: A*'A* of each region, if it is known.
    """

    def __init__(
        self,
        embeddings: Tensor,
        start: Tensor,
        regions: Regions,
        activation: str,
        is_bfloat16: bool,
        kept: list[Tensor] | None = None,
    ) -> None:
        self.embeddings, self.regions = embeddings, regions
        self.activation, self.is_bfloat16 = activation, is_bfloat16
        self.multiply = bfloat16_product if is_bfloat16 else product
        self.dtype = torch.bfloat16 if is_bfloat16 else start.dtype
        self.size = start.shape[-1]
        # A row is D, A*, a 1, and zeros to fill it up.
        self.width = 2 * self.size + 1
        if self.size >= FILLED_FROM:
            per_row = ROW_BYTES // self.dtype.itemsize
            self.width = -(-self.width // per_row) * per_row
        self.pair = start.new_zeros(*start.shape[:-1], self.width, dtype=self.dtype)
        self.pair[..., 2 * self.size] = 1.0
        beside = self.pair[..., self.size : 2 * self.size]
        beside.copy_(start)
        self.start = start if is_bfloat16 else beside
        self.diff = self.pair[..., : self.size]
        if kept is not None:
            self.kept = kept

    @cached_property
    def kept(self) -> list[Tensor]:
        """A*'A* of each region, (H + 1, H + 1), with A*'s last column of ones."""
        rows = (self._with_one(region).flatten(-3, -2) for region in self.regions)
        return [a.mT @ a for a in rows]

    @cached_property
    def kept_by_task(self) -> list[Tensor]:
        """A*'A* of each region and past task, (t, H + 1, H + 1); only subsets need it."""
        rows = (self._with_one(region).transpose(-3, -2) for region in self.regions)
        return [a.mT @ a for a in rows]

    def _with_one(self, chunks: slice) -> Tensor:
        return with_one(self.start[..., chunks, :, :])

    def of_tasks(self, select: Select) -> "PastFeatures":
        """Give the features of some past tasks.

        Args:
            select: takes these tasks' part of a tensor along the dimension given.
        """
        kept = [select(each, -3).sum(-3) for each in self.kept_by_task]
        return PastFeatures(
            select(self.embeddings, -2),
            select(self.start, -2),
            self.regions,
            self.activation,
            self.is_bfloat16,
            kept,
        )

    def _blocks(self) -> list[slice]:
        num_chunks = self.start.shape[-3]
        per_chunk = max(1, self.start.numel() // max(1, num_chunks))
        size = max(1, FEATURES_AT_ONCE // per_chunk)
        return [slice(i, min(i + size, num_chunks)) for i in range(0, num_chunks, size)]

    def _hidden(self, lower: Theta, block: slice) -> Hidden:
        lower = [lower[0][..., block, :], *lower[1:]]
        return Hidden.of(
            self.embeddings, lower, self.activation, chunks_first=True, kept=self.dtype
        )

    def move(self, lower: Theta) -> tuple[Hidden | None, list[Tensor]]:
        """Compute D at other parameters.

        Args:
            lower: all parameters of the hypernetwork but the output layer.

        Returns:
            The hidden layers, or None if there are several blocks; and D' [D, A*, 1] of each
            region, (H, 2 H + 1).
        """
        blocks = self._blocks()
        for block in blocks:
            hidden = self._hidden(lower, block)
            self._write_diff(hidden, block)
        pairs = (self.pair[..., region, :, :].flatten(-3, -2) for region in self.regions)
        found = [self.multiply(pair[..., : self.size].mT, pair) for pair in pairs]
        both = [f[..., : 2 * self.size + 1].to(self.start.dtype) for f in found]
        return hidden if len(blocks) == 1 else None, both

    def _write_diff(self, hidden: Hidden, block: slice) -> None:
        features, start = hidden.layers[-1], self.start[..., block, :, :]
        diff = self.diff[..., block, :, :]
        if self.is_bfloat16 and ACTIVATIONS[self.activation].needs_sign:
            hidden.layers[-1] = features.to(self.dtype)
            # Subtracting first and converting then is faster than one operation on two types.
            diff.copy_(features.sub_(start))
        else:
            torch.sub(features, start, out=diff)

    def gradients(
        self, lower: Theta, hidden: Hidden | None, factors: list[Tensor], tail: Tensor | None
    ) -> Theta:
        """Compute the gradient for `lower` of a function of D.

        Args:
            lower: what `move` was given.
            hidden: what `move` returned.
            factors: (2 H + 1, H) for each region; [D, A*, 1] @ factor is the gradient for D.
            tail: (chunks, t, H), added to the gradient for D of the last chunks.
        """
        grad = self._for_diff(factors, tail)
        if hidden is not None:
            return hidden.gradients(grad)[0]
        grads = [torch.zeros_like(p) for p in lower]
        for block in self._blocks():
            hidden = self._hidden(lower, block)
            of_chunks, *of_layers = hidden.gradients(grad[..., block, :, :])[0]
            grads[0][..., block, :] = of_chunks
            for total, grad_of_block in zip(grads[1:], of_layers, strict=True):
                total += grad_of_block
        return grads

    def _for_diff(self, factors: list[Tensor], tail: Tensor | None) -> Tensor:
        """Compute the gradient for D, (K, t, H); arguments as `gradients`'."""
        grad = self.start.new_empty(self.start.shape, dtype=self.dtype)
        for region, factor in zip(self.regions, factors, strict=True):
            pair = self.pair[..., region, :, :].flatten(-3, -2)
            factor = F.pad(factor, (0, 0, 0, self.width - factor.shape[-2]))
            self.multiply(pair, factor, out=grad[..., region, :, :].flatten(-3, -2))
        grad[..., self.regions[-1].stop :, :, :] = 0.0
        if tail is not None:
            grad[..., grad.shape[-3] - tail.shape[-3] :, :, :] += tail
        return grad
