"""The output regularizer with its gradient written out: `OutputRegularizer`'s numbers, faster.

`hcl/hypernets/output_regularizer.py` explains the algebra; `gram_form.py` has its small products,
`past_features.py` the features. In both, the output layer is cut at the same place:

              columns before the cut   columns from the cut on
    whole chunks     region 0                 region 0
    the cut chunk    region 1                 does not count
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

    Where other tasks' heads are masked, the chunks that hold heads (the tail) are compared weight
    by weight, where a mask of 0 and 1 is simple; all others go through the small products.

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
        self.tail_start = end
        # `whole` chunks count wholly, and `cut` columns of the next one: the last chunk, which is
        # cut to fit, or the first one with heads.
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
        """Give (tail chunks, t, chunk size): 1 where a weight of the tail's chunks counts."""
        shape, size = self.shape, self.shape.chunk_size
        first = self.tail_start // size * size
        like = self.theta_start[0]
        mask = torch.zeros(len(keep), shape.num_chunks * size - first, dtype=like.dtype)
        tail = slice(self.tail_start - first, shape.num_weights - first)
        mask[:, tail] = keep[:, self.tail_start :].to(mask)
        return mask.unflatten(1, (-1, size)).transpose(0, 1).contiguous().to(like.device)

    def __call__(self, theta: Theta, tasks: Tensor | None = None) -> Tensor:
        """Compute the penalty at `theta`, differentiable once; see OutputRegularizer."""
        return _Penalty.apply(self, tasks, *theta)

    def value_and_grads(
        self, theta: Theta, tasks: Tensor | None = None, strength: Factor = 1.0
    ) -> tuple[Tensor, list[Tensor]]:
        """Compute `strength` times the penalty and its gradient for each of `theta`."""
        torch.sub(theta[-1].detach(), self.kept, out=self.change)
        return self.value_and_grads_at(theta[:-1], tasks, strength)

    @torch.no_grad()
    def value_and_grads_at(
        self,
        lower: Theta,
        tasks: Tensor | None = None,
        strength: Factor = 1.0,
        over_output: OverOutput | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Do the same where `change` has been written already, and V is `kept` + `change`.

        Who computes V can write the difference in the same pass over memory.

        Args:
            lower: all parameters but the output layer.
            tasks: as `value_and_grads` takes them.
            strength: as `value_and_grads` takes it.
            over_output: does `_over_output`'s work instead. It takes the same arguments; the
                gradient for the output layer is then missing from the result.
        """
        past = self.past
        if tasks is not None:
            past = past.of_tasks(lambda of_tasks, dim: self._of(of_tasks, tasks, dim))
        factor = strength / past.embeddings.shape[-2]
        in_mode = ProductsOfSize(past.start.numel() * past.size)
        with in_mode:
            hidden, both = past.move(lower)
            features = list(map(FeatureGrams.of, both, past.kept))
        after = features[0].output_factor(factor)
        before = after + features[1].output_factor(factor)
        found, grad_output = (over_output or self._over_output)(before, after)
        outputs = self._by_region(found)
        with in_mode:
            value = features[0].value(outputs[0]) + features[1].value(outputs[1])
            tail = None
            if self.keep is not None:
                of_tail, tail = self._add_tail(
                    past, self._of(self.keep, tasks), factor, grad_output
                )
                value += of_tail
            factors = [grams.feature_factor(factor) for grams in outputs]
            grads = past.gradients(lower, hidden, factors, tail)
        scale = factor.flatten() if isinstance(factor, Tensor) else factor
        return scale * value, grads if grad_output is None else [*grads, grad_output]

    def _of(self, of_tasks: Tensor, tasks: Tensor | None, dim: int = -2) -> Tensor:
        """Take the chosen tasks' part of a tensor along a dimension."""
        return of_tasks if tasks is None else of_tasks.index_select(dim, tasks)

    def _by_region(self, found: list[Tensor]) -> list[OutputGrams]:
        """Turn `_over_output`'s products into those over the columns that count in each region."""
        before, after = map(OutputGrams.of, found, self.kept_grams)
        return [before + after, before]

    def _over_output(self, before: Tensor, after: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Do the work on the output layer, the largest matrices of all.

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
        """Compare the chunks with masked heads weight by weight.

        Args:
            past: the features.
            keep: mask of the tail's chunks.
            factor: strength by number of tasks.
            grad_output: gradient for the output layer, to which the tail's is added.

        Returns:
            The value without `factor`, and the gradient for the tail's features.
        """
        assert grad_output is not None
        first = self.tail_start // self.shape.chunk_size
        moved, change = self.kept + self.change, self.change
        start = past.start[..., first:, :, :]
        # D's last column is 0.
        diff_tail = F.pad(past.diff[..., first:, :, :].to(start.dtype), (0, 1)).flatten(-3, -2)
        start_tail = with_one(start).flatten(-3, -2)
        # The mask is 0, too, for columns of the first of these chunks that are in region 1.
        gap = diff_tail @ moved + start_tail @ change
        gap.mul_(keep.reshape(gap.shape))
        grad_output += 2 * factor * ((diff_tail + start_tail).mT @ gap)
        grad_tail = 2 * factor * (gap @ moved.mT)[..., :-1]
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
