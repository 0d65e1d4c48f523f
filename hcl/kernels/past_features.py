"""The last hidden layer of past tasks: A* when the task began, and its change D since."""

from collections.abc import Callable
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.kernels.gram_form import rough_product
from hcl.kernels.hidden_layers import Activation, Hidden, Theta, product

# Numbers in the last hidden layer, over tasks and chunks, up to which all hidden layers are kept
# for the gradient. More go block by block of chunks, whose layers are made again: bounds memory,
# not results. (Smaller blocks, which fit the processor's cache, are slower: their products are.)
FEATURES_AT_ONCE = 2**24
# Hidden units from which rows are filled up with zeros to so many bytes: products of such rows are
# up to 6% faster, of narrow ones slower.
FILLED_FROM, ROW_BYTES = 128, 64

Select = Callable[[Tensor, int], Tensor]
Regions = tuple[slice, slice]


class PastFeatures:
    """A* of the past tasks, with room for D beside it so that products with both are one.

    With R replicas everything has that dimension before its own.

    Args:
        embeddings: (t, embedding_size).
        start: A* (K, t, H), chunks first; it is copied.
        regions: of chunks, one after the other; no products are made of further ones.
        activation: of the hidden layers.
        is_rough: multiply in bfloat16 all but what D is the difference of.
        kept: A*'A* of the regions if it is known, see there.
    """

    def __init__(
        self,
        embeddings: Tensor,
        start: Tensor,
        regions: Regions,
        activation: Activation,
        is_rough: bool,
        kept: list[Tensor] | None = None,
    ) -> None:
        self.embeddings, self.regions = embeddings, regions
        self.activation, self.is_rough = activation, is_rough
        self.multiply = rough_product if is_rough else product
        self.dtype = torch.bfloat16 if is_rough else start.dtype
        self.size = start.shape[-1]
        # D, A* and a 1, perhaps zeros
        self.width = 2 * self.size + 1
        if self.size >= FILLED_FROM:
            per_row = ROW_BYTES // self.dtype.itemsize
            self.width = -(-self.width // per_row) * per_row
        self.pair = start.new_zeros(*start.shape[:-1], self.width, dtype=self.dtype)
        self.pair[..., 2 * self.size] = 1.0
        beside = self.pair[..., self.size : 2 * self.size]
        beside.copy_(start)
        self.start = start if is_rough else beside
        self.diff = self.pair[..., : self.size]
        if kept is not None:
            self.kept = kept

    @cached_property
    def kept(self) -> list[Tensor]:
        """A*'A* of each region, (H + 1, H + 1), A* with a last column of 1."""
        with_one = (self._with_one(region).flatten(-3, -2) for region in self.regions)
        return [a.mT @ a for a in with_one]

    @cached_property
    def kept_by_task(self) -> list[Tensor]:
        """The same for every past task, (t, H + 1, H + 1): needed for subsets alone."""
        with_one = (self._with_one(region).transpose(-3, -2) for region in self.regions)
        return [a.mT @ a for a in with_one]

    def _with_one(self, chunks: slice) -> Tensor:
        return F.pad(self.start[..., chunks, :, :], (0, 1), value=1.0)

    def of_tasks(self, select: Select) -> "PastFeatures":
        """Those of some past tasks, which `select` takes from a tensor's dimension."""
        kept = [select(each, -3).sum(-3) for each in self.kept_by_task]
        embeddings, start = select(self.embeddings, -2), select(self.start, -2)
        return PastFeatures(embeddings, start, self.regions, self.activation, self.is_rough, kept)

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
        """To the features at other parameters.

        Args:
            lower: all parameters of the hypernetwork but the output layer.

        Returns:
            The hidden layers, if there is one block, and of each region D' [D, A*, 1],
            (H, 2 H + 1).
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
        if self.is_rough and self.activation.needs_sign:
            hidden.layers[-1] = features.to(self.dtype)
            diff.copy_(features.sub_(start))  # one operation on two types is slower than three
        else:
            torch.sub(features, start, out=diff)

    def gradients(
        self, lower: Theta, hidden: Hidden | None, factors: list[Tensor], tail: Tensor | None
    ) -> Theta:
        """Of a function of D for `lower`.

        Args:
            lower, hidden: what `move` took and gave.
            factors: of each region, (2 H + 1, H): [D, A*, 1] @ factor is the gradient for D.
            tail: (chunks, t, H), more of it for the last chunks.
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
        grad = self.start.new_empty(self.start.shape, dtype=self.dtype)
        for region, factor in zip(self.regions, factors, strict=True):
            pair = self.pair[..., region, :, :].flatten(-3, -2)
            factor = F.pad(factor, (0, 0, 0, self.width - factor.shape[-2]))
            self.multiply(pair, factor, out=grad[..., region, :, :].flatten(-3, -2))
        grad[..., self.regions[-1].stop :, :, :] = 0.0
        if tail is not None:
            grad[..., grad.shape[-3] - tail.shape[-3] :, :, :] += tail
        return grad
