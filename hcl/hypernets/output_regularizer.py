"""The output regularizer of von Oswald et al. (2020), eq. 2, without generating any weights."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hcl.hypernets.hypernet import Hypernet
from hcl.kernels.gram_form import Columns, Factor, Rows, columns_of
from hcl.kernels.hidden_layers import Theta
from hcl.kernels.matmul import products_of_size
from hcl.kernels.past_features import PastFeatures, Regions

# The work of a step on the output layer: see OutputRegularizer._over_output.
OverOutput = Callable[[Tensor, Tensor], tuple[list[Tensor], Tensor | None]]


class OutputRegularizer:
    """Mean over past tasks of the squared distance between their weights now and at task start.

    Where other tasks' heads are masked, the chunks that hold heads ("tail") are compared directly,
    where a 0/1 mask is simple; everything else goes through the products of gram_form.

    Args:
        hypernet: the hypernetwork, at the parameters to keep.
        embeddings: (t, embedding_size) of the past tasks, frozen.
        keep: bool (t, num_weights), weights that count for each past task; None for all.
        first_masked: index of the first weight that `keep` may exclude.
        theta_start: parameters to keep instead of the hypernetwork's own (a restart).
        is_rough: multiply large matrices in bfloat16, but for the features: differences are taken
            in full before.
    """

    def __init__(
        self,
        hypernet: Hypernet,
        embeddings: Tensor,
        keep: Tensor | None = None,
        first_masked: int | None = None,
        theta_start: Theta | None = None,
        is_rough: bool = False,
    ) -> None:
        self.hypernet = hypernet
        self.embeddings = embeddings.detach()
        self.theta_start = list(theta_start or (p.detach().clone() for p in hypernet.theta()))
        is_masked = keep is not None and first_masked is not None
        end = first_masked if is_masked and first_masked is not None else hypernet.num_weights
        self.tail_start = end
        # `whole` chunks count wholly, `cut` columns of the next (the cut last one, or heads).
        self.whole, self.cut = divmod(end, hypernet.chunk_size)
        kept = self.theta_start[-1]
        self.kept_and_change = torch.cat([kept, torch.zeros_like(kept)])  # V* over E
        self.kept, self.change = self.kept_and_change.tensor_split(2)
        self.theta_start[-1] = self.kept
        with torch.no_grad():
            start = hypernet.features(self.embeddings, self.theta_start, chunks_first=True)
            regions, activation = self._regions(), hypernet.activation
            self.past = PastFeatures(self.embeddings, start, regions, activation, is_rough)
            self.kept_columns = [kept[:, c] @ kept[:, c].T for c in self._columns()]
        self.keep = self._tail_mask(keep) if end < hypernet.num_weights else None

    def _regions(self) -> Regions:
        """Chunks that count wholly, and the one that is cut (if any)."""
        return slice(0, self.whole), slice(self.whole, self.whole + (self.cut > 0))

    def _columns(self) -> tuple[slice, slice]:
        """Of the output layer: those before the cut, and those from it on."""
        return slice(0, self.cut), slice(self.cut, None)

    def _tail_mask(self, keep: Tensor | None) -> Tensor:
        """(tail chunks, t, chunk size): 1 where a weight of the tail's chunks counts."""
        assert keep is not None
        hypernet, size = self.hypernet, self.hypernet.chunk_size
        first = self.tail_start // size * size
        like = self.theta_start[0]
        mask = torch.zeros(len(keep), hypernet.num_chunks * size - first, dtype=like.dtype)
        tail = slice(self.tail_start - first, hypernet.num_weights - first)
        mask[:, tail] = keep[:, self.tail_start :].to(mask)
        return mask.unflatten(1, (-1, size)).transpose(0, 1).contiguous().to(like.device)

    def __call__(self, theta: Theta, tasks: Tensor | None = None) -> Tensor:
        """The penalty at `theta` (without beta), differentiable once.

        Args:
            theta: parameters as `Hypernet.theta()` lists them, e.g. own ones + candidate step.
            tasks: int64, past tasks to regularize; None for all. The mean is over these.
        """
        return _Penalty.apply(self, tasks, *theta)

    def value_and_grads(
        self, theta: Theta, tasks: Tensor | None = None, strength: Factor = 1.0
    ) -> tuple[Tensor, list[Tensor]]:
        """`strength` times the penalty, and its gradient for each of `theta`; see `__call__`."""
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
        """The same at an output layer of `kept` + `change`, both its own; `change` is written
        before, and `lower` has the other parameters.

        Args:
            lower: all parameters but the output layer.
            tasks, strength: see `value_and_grads`.
            over_output: does the work on the output layer instead: of `_over_output`'s arguments
                it gets the factors, and there is no gradient for the output layer then.
        """
        past = self.past
        if tasks is not None:
            past = past.of_tasks(lambda of_tasks, dim: self._of(of_tasks, tasks, dim))
        factor = strength / past.embeddings.shape[-2]
        in_mode = products_of_size(past.start.numel() * past.size)
        with in_mode:
            hidden, both = past.move(lower)
            rows = list(map(Rows.of, both, past.kept))
        after = rows[0].factors(factor)
        before = after + rows[1].factors(factor)
        found, grad_output = (over_output or self._over_output)(before, after)
        columns = self._everywhere(found)
        with in_mode:
            value = rows[0].value(columns[0]) + rows[1].value(columns[1])
            tail = None
            if self.keep is not None:
                of_tail, tail = self._add_tail(
                    past, self._of(self.keep, tasks), factor, grad_output
                )
                value += of_tail
            grads = past.gradients(lower, hidden, [c.factor(factor) for c in columns], tail)
        scale = factor.flatten() if isinstance(factor, Tensor) else factor
        return scale * value, grads if grad_output is None else [*grads, grad_output]

    def _of(self, of_tasks: Tensor, tasks: Tensor | None, dim: int = -2) -> Tensor:
        """What is kept of each past task along a dimension, of the chosen ones alone."""
        return of_tasks if tasks is None else of_tasks.index_select(dim, tasks)

    def _everywhere(self, found: list[Tensor]) -> list[Columns]:
        """From `_over_output`'s products, for each region over the columns that count."""
        before, after = map(columns_of, found, self.kept_columns)
        return [before + after, before]

    def _over_output(self, before: Tensor, after: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """From K before the cut and after it (Rows.factors): V* E' over E E' on either side, and
        K @ (V* over E)."""
        size = self.kept.shape[-2]
        grad, found = torch.empty_like(self.kept), []
        for columns, factor in zip(self._columns(), (before, after), strict=True):
            stack = self.kept_and_change[..., columns].to(self.past.dtype)
            found.append(self.past.multiply(stack, stack[..., size:, :].mT))
            self.past.multiply(factor, stack, out=grad[..., columns])
        return found, grad

    def _add_tail(
        self, past: PastFeatures, keep: Tensor, factor: Factor, grad_output: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The chunks with masked heads, weight by weight: the value without `factor`, and the
        gradient for their features; adds to the output layer's."""
        assert grad_output is not None
        first = self.tail_start // self.hypernet.chunk_size
        moved, change = self.kept + self.change, self.change
        start = past.start[..., first:, :, :]
        diff_tail = F.pad(past.diff[..., first:, :, :].to(start.dtype), (0, 1)).flatten(-3, -2)
        start_tail = F.pad(start, (0, 1), value=1.0).flatten(-3, -2)
        # 0 too for the columns of the first of them that are in a segment.
        gap = diff_tail @ moved + start_tail @ change
        gap.mul_(keep.reshape(gap.shape))
        grad_output += 2 * factor * ((diff_tail + start_tail).mT @ gap)
        grad_tail = 2 * factor * (gap @ moved.mT)[..., :-1]
        return gap.square().sum((-2, -1)), grad_tail.reshape(start.shape)


class _Penalty(torch.autograd.Function):
    """Value and gradient come from the same products, so both are computed at once."""

    @staticmethod
    def forward(
        ctx: Any, regularizer: OutputRegularizer, tasks: Tensor | None, *theta: Tensor
    ) -> Tensor:
        value, grads = regularizer.value_and_grads(list(theta), tasks)
        ctx.save_for_backward(*grads)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(scale * grad for grad in ctx.saved_tensors)
