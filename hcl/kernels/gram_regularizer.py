"""The output regularizer with its gradient written out: `OutputRegularizer`'s numbers, faster.

`hcl/hypernets/output_regularizer.py` explains the algebra; `gram_form.py` has its small products,
`past_features.py` the features. A past task's weights, with a row for each chunk:

    0 0 0 0 0 0    0: `whole` chunks, which count wholly: region 0
    0 0 0 0 0 0
    1 1 t t t t    1: the first `cut` columns of the next chunk, the cut one: region 1
    t t t t . .    t: the tail, from the first masked weight on; .: beyond the last weight

Small products see a region at a time: region 0 has all columns of the output layer, region 1 those
before the cut. The tail, heads of which each task keeps its own, is compared weight by weight,
where a mask of 0 and 1 is simple. Without a mask there is none, and the cut chunk is the last.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hcl.kernels.gram_form import Factor, FeatureGrams, OutputGrams
from hcl.kernels.hypernet_layers import Hidden, Shape, Theta, with_one
from hcl.kernels.matmul import ProductsOfSize
from hcl.kernels.past_features import PastFeatures, Regions

# Does a step's work on the output layer, see GramRegularizer._over_output.
OverOutput = Callable[[Tensor, Tensor], tuple[list[Tensor], Tensor | None]]


class GramRegularizer:
    """The same as `OutputRegularizer`, and differentiable once.

    Args:
        shape: the hypernetwork, of which only the shape is read.
        embeddings: (t, embedding_size), those of the past tasks, frozen.
        theta_start: parameters to keep; the output layer is copied.
        mask: bool (t, num_weights), the weights that count for each past task, and the index of
            the first one that does not for any task (a HeadMask); None if all count.
        is_bfloat16: multiply large matrices in bfloat16. Differences of features are taken in
            float32 before.
    """

    def __init__(
        self,
        shape: Shape,
        embeddings: Tensor,
        theta_start: Theta,
        mask: tuple[Tensor, int] | None = None,
        is_bfloat16: bool = False,
    ) -> None:
        self.shape, self.embeddings = shape, embeddings.detach()
        self.theta_start = list(theta_start)
        keep, end = (None, shape.num_weights) if mask is None else mask
        self.whole, self.cut = divmod(end, shape.chunk_size)
        kept = self.theta_start[-1]
        # V* over E, one tensor, so that one product has both.
        self.kept_and_change = torch.cat([kept, torch.zeros_like(kept)])
        self.kept, self.change = self.kept_and_change.tensor_split(2)
        self.theta_start[-1] = self.kept
        with torch.no_grad():
            *lower, _ = self.theta_start
            hidden = Hidden.of(self.embeddings, lower, shape.activation, chunks_first=True)
            start, regions = hidden.layers[-1], self._regions()
            self.past = PastFeatures(
                self.embeddings, start, regions, shape.activation, is_bfloat16
            )
            self.kept_grams = [kept[:, c] @ kept[:, c].T for c in self._columns()]
        self.keep: Tensor | None = None
        if keep is not None and end < shape.num_weights:
            self.keep = self._tail_mask(keep)

    def _regions(self) -> Regions:
        """Chunks that count wholly, and the one that is cut, if any."""
        return slice(0, self.whole), slice(self.whole, self.whole + (self.cut > 0))

    def _columns(self) -> tuple[slice, slice]:
        """Columns of the output layer before the cut, and those from it on."""
        return slice(0, self.cut), slice(self.cut, None)

    def _tail_mask(self, keep: Tensor) -> Tensor:
        """Give (chunks, t, chunk size) for the tail's chunks: 1 where a weight of it counts."""
        shape, size = self.shape, self.shape.chunk_size
        in_whole, like = self.whole * size, self.theta_start[0]
        mask = torch.zeros(len(keep), shape.num_chunks * size - in_whole, dtype=like.dtype)
        tail = slice(self.cut, shape.num_weights - in_whole)
        mask[:, tail] = keep[:, in_whole + self.cut :].to(mask)
        return mask.unflatten(1, (-1, size)).transpose(0, 1).contiguous().to(like.device)

    def __call__(self, theta: Theta, tasks: Tensor | None = None) -> Tensor:
        """Compute the penalty at `theta`, differentiable once; see OutputRegularizer."""
        return _Penalty.apply(self, tasks, *theta)

    def value_and_grads(
        self, theta: Theta, tasks: Tensor | None = None, strength: Factor = 1.0
    ) -> tuple[Tensor, list[Tensor]]:
        """Compute `strength` times the penalty and its gradient for each of `theta`.

        Args:
            theta: all parameters, the output layer last.
            tasks: int64, past tasks to regularize; None for all. The mean is over these.
            strength: a factor.
        """
        torch.sub(theta[-1].detach(), self.kept, out=self.change)
        return self.value_and_grads_at(theta[:-1], tasks, strength, self._over_output)

    @torch.no_grad()
    def value_and_grads_at(
        self, lower: Theta, tasks: Tensor | None, strength: Factor, over_output: OverOutput
    ) -> tuple[Tensor, list[Tensor]]:
        """Do the same, but leave the work on the output layer to `over_output`.

        Args:
            lower: all parameters but the output layer.
            tasks: as `value_and_grads` takes them.
            strength: as `value_and_grads` takes it.
            over_output: takes and gives what `_over_output` does. Where it gives no gradient for
                the output layer, the result has none either.
        """
        past = self.past
        if tasks is not None:
            past = past.of_tasks(lambda of_tasks, dim: self._of(of_tasks, tasks, dim))
        factor = strength / past.embeddings.shape[-2]
        in_mode = ProductsOfSize(past.start.numel() * past.size)
        with in_mode:
            hidden, both = past.move(lower)
            region0, region1 = map(FeatureGrams.of, both, past.kept)
        factor_after = region0.output_factor(factor)
        factor_before = factor_after + region1.output_factor(factor)
        found, grad_output = over_output(factor_before, factor_after)
        before, after = map(OutputGrams.of, found, self.kept_grams)
        every = before + after
        with in_mode:
            value = region0.value(every) + region1.value(before)
            tail = None
            if self.keep is not None:
                of_tail, tail = self._add_tail(
                    past, self._of(self.keep, tasks), factor, grad_output
                )
                value += of_tail
            factors = [columns.feature_factor(factor) for columns in (every, before)]
            grads = past.gradients(lower, hidden, factors, tail)
        # Replicas' factors are (R, 1, 1), their values (R,).
        scale = factor.flatten() if isinstance(factor, Tensor) else factor
        return scale * value, grads if grad_output is None else [*grads, grad_output]

    def _of(self, of_tasks: Tensor, tasks: Tensor | None, dim: int = -2) -> Tensor:
        """Take the chosen tasks' part of a tensor along a dimension."""
        return of_tasks if tasks is None else of_tasks.index_select(dim, tasks)

    def _over_output(self, before: Tensor, after: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Multiply V* and E, the largest matrices of all.

        Args:
            before: K (see FeatureGrams.output_factor) for the columns before the cut.
            after: K for the columns from the cut on.

        Returns:
            For the columns before and after the cut, V* E' over E E'; and K [V*; E], the gradient
            for the output layer.
        """
        size = self.kept.shape[-2]
        grad, found = torch.empty_like(self.kept), []
        for columns, factor in zip(self._columns(), (before, after), strict=True):
            both = self.kept_and_change[..., columns].to(self.past.dtype)
            found.append(self.past.multiply(both, both[..., size:, :].mT))
            self.past.multiply(factor, both, out=grad[..., columns])
        return found, grad

    def _add_tail(
        self, past: PastFeatures, keep: Tensor, factor: Factor, grad_output: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Compare the tail's chunks weight by weight: A V - A* V* = D V + A* E.

        Args:
            past: the features.
            keep: mask of the tail's chunks; 0, too, for the cut chunk's weights in region 1.
            factor: strength by number of tasks.
            grad_output: gradient for the output layer, to which the tail's is added.

        Returns:
            The value without `factor`, and the gradient for the features of the tail's chunks.
        """
        assert grad_output is not None
        output, change = self.kept + self.change, self.change
        start = past.start[..., self.whole :, :, :]
        # D's last column is 0.
        diff = F.pad(past.diff[..., self.whole :, :, :].to(start.dtype), (0, 1)).flatten(-3, -2)
        start_rows = with_one(start).flatten(-3, -2)
        gap = diff @ output + start_rows @ change
        gap.mul_(keep.reshape(gap.shape))
        grad_output += 2 * factor * ((diff + start_rows).mT @ gap)
        grad_tail = 2 * factor * (gap @ output.mT)[..., :-1]
        return gap.square().sum((-2, -1)), grad_tail.reshape(start.shape)


class _Penalty(torch.autograd.Function):
    """Computes value and gradient together, because they come from the same products."""

    @staticmethod
    def forward(
        ctx: Any, regularizer: GramRegularizer, tasks: Tensor | None, *theta: Tensor
    ) -> Tensor:
        value, grads = regularizer.value_and_grads(list(theta), tasks)
        ctx.save_for_backward(*grads)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(scale * grad for grad in ctx.saved_tensors)
