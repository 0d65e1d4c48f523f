"""The output regularizer of von Oswald et al. (2020), eq. 2, without generating any weights."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hcl.hypernets.gram_form import Factor, Rows, columns_of, rough_product
from hcl.hypernets.hidden import Hidden, Theta, product
from hcl.hypernets.hypernet import Hypernet
from hcl.products import products_of_size

# The work of a step on the output layer: see OutputRegularizer._over_output.
OverOutput = Callable[[Tensor, Tensor], tuple[list[Tensor], Tensor | None]]
# Numbers in the last hidden layer, over tasks and chunks, that are differentiated at once.
FEATURES_AT_ONCE = 2**24


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
        is_rough: multiply large matrices in bfloat16; differences are taken in full before.
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
        self.is_rough = is_rough
        self.multiply = rough_product if is_rough else product
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
            self.start, self.pair = self._beside(start)  # (K, t, H) and (K, t, 2 H)
            self.kept_rows = [self._gram_of(chunks) for chunks in self._chunks()]
            self.kept_columns = [kept[:, c] @ kept[:, c].T for c in self._columns()]
        self.keep = self._tail_mask(keep) if end < hypernet.num_weights else None

    def _chunks(self) -> tuple[slice, slice]:
        """Those that count wholly, and the one that is cut (if any)."""
        return slice(0, self.whole), slice(self.whole, self.whole + (self.cut > 0))

    def _columns(self) -> tuple[slice, slice]:
        """Of the output layer: those before the cut, and those from it on."""
        return slice(0, self.cut), slice(self.cut, None)

    def _beside(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """A*, and room for D beside it, so that products with both are one."""
        dtype = torch.bfloat16 if self.is_rough else start.dtype
        pair = torch.empty(
            *start.shape[:-1], 2 * start.shape[-1], dtype=dtype, device=start.device
        )
        kept = pair[..., start.shape[-1] :]
        kept.copy_(start)
        return start if self.is_rough else kept, pair

    def _gram_of(self, chunks: slice) -> Tensor:
        """A*'A* of every past task, (t, H + 1, H + 1)."""
        features = F.pad(self.start[chunks].transpose(0, 1), (0, 1), value=1.0)
        return features.transpose(1, 2) @ features

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
        embeddings = self._of(self.embeddings, tasks)
        start, pair = self._start_of(tasks)
        factor = strength / embeddings.shape[-2]
        diff = pair[..., : start.shape[-1]]  # (K, t, H)
        in_mode = products_of_size(start.numel() * start.shape[-1])
        with in_mode:
            hidden = self._write_diff(diff, start, embeddings, lower)
            rows = [
                Rows.of(pair[..., chunks, :, :], self._of(kept, tasks, -3), self.multiply)
                for chunks, kept in zip(self._chunks(), self.kept_rows, strict=True)
            ]
        after = rows[0].factors(factor)
        before = after + rows[1].factors(factor)
        found, grad_output = (over_output or self._over_output)(before, after)
        with in_mode:
            value, grad_diff = self._grad_diff(rows, found, start, factor)
            if self.keep is not None:
                keep = self._of(self.keep, tasks)
                value += self._add_tail(diff, start, keep, factor, grad_diff, grad_output)
            grads = self._lower_grads(hidden, grad_diff, embeddings, lower)
        scale = factor.flatten() if isinstance(factor, Tensor) else factor
        return scale * value, grads if grad_output is None else [*grads, grad_output]

    def _write_diff(
        self, diff: Tensor, start: Tensor, embeddings: Tensor, lower: Theta
    ) -> Hidden | None:
        """The features' change to `diff`; the hidden layers, if they are one block."""
        blocks, hidden = self._blocks(start), None
        for block in blocks:
            hidden = self._hidden(embeddings, lower, block)
            part = diff[..., block, :, :]
            torch.sub(hidden.layers[-1], start[..., block, :, :], out=part)
        return hidden if len(blocks) == 1 else None

    def _lower_grads(
        self, hidden: Hidden | None, grad: Tensor, embeddings: Tensor, lower: Theta
    ) -> Theta:
        """From the features' gradient; hidden layers of many blocks are made again."""
        if hidden is not None:
            return hidden.gradients(grad)[0]
        grads = [torch.zeros_like(p) for p in lower]
        for block in self._blocks(grad):
            hidden = self._hidden(embeddings, lower, block)
            of_chunks, *of_layers = hidden.gradients(grad[..., block, :, :])[0]
            grads[0][..., block, :] = of_chunks
            for total, grad_of_block in zip(grads[1:], of_layers, strict=True):
                total += grad_of_block
        return grads

    def _start_of(self, tasks: Tensor | None) -> tuple[Tensor, Tensor]:
        """`start` and `pair` of the chosen tasks."""
        if tasks is None:
            return self.start, self.pair
        return self._beside(self._of(self.start, tasks))

    def _blocks(self, start: Tensor) -> list[slice]:
        """Chunks whose hidden layers' values are held at once: bounds memory, not results."""
        num_chunks = start.shape[-3]
        per_chunk = max(1, start.numel() // max(1, num_chunks))
        size = max(1, FEATURES_AT_ONCE // per_chunk)
        return [slice(i, i + size) for i in range(0, num_chunks, size)]

    def _hidden(self, embeddings: Tensor, lower: Theta, block: slice) -> Hidden:
        """Of the block's chunks, chunks first."""
        lower = [lower[0][..., block, :], *lower[1:]]
        return Hidden.of(embeddings, lower, self.hypernet.activation, chunks_first=True)

    def _of(self, of_tasks: Tensor, tasks: Tensor | None, dim: int = -2) -> Tensor:
        """What is kept of each past task along a dimension, of the chosen ones alone."""
        return of_tasks if tasks is None else of_tasks.index_select(dim, tasks)

    def _grad_diff(
        self, rows: list[Rows], found: list[Tensor], start: Tensor, factor: Factor
    ) -> tuple[Tensor, Tensor]:
        """The value without `factor`, and its gradient for the features with."""
        whole, cut = rows
        before, after = map(columns_of, found, self.kept_columns)
        value = whole.value(before + after) + cut.value(before)
        grad_diff = start.new_empty(start.shape)
        grad_diff[..., self.whole + (self.cut > 0) :, :, :] = 0.0
        everywhere = (before + after, before)
        for chunks, part, columns in zip(self._chunks(), rows, everywhere, strict=True):
            of_chunks = grad_diff[..., chunks, :, :].flatten(-3, -2)
            part.write_grad(columns, factor, self.multiply, of_chunks)
        return value, grad_diff

    def _over_output(self, before: Tensor, after: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """From K before the cut and after it (Rows.factors): V* E' over E E' on either side, and
        K @ (V* over E)."""
        size = self.kept.shape[-2]
        grad, found = torch.empty_like(self.kept), []
        for columns, factor in zip(self._columns(), (before, after), strict=True):
            stack = self.kept_and_change[..., columns]
            found.append(self.multiply(stack, stack[..., size:, :].mT))
            self.multiply(factor, stack, out=grad[..., columns])
        return found, grad

    def _add_tail(
        self,
        diff: Tensor,
        start: Tensor,
        keep: Tensor,
        factor: Factor,
        grad_diff: Tensor,
        grad_output: Tensor | None,
    ) -> Tensor:
        """The chunks with masked heads, weight by weight; adds to the gradients."""
        assert grad_output is not None
        first = self.tail_start // self.hypernet.chunk_size
        moved, change = self.kept + self.change, self.change
        start = start[..., first:, :, :]
        diff_tail = F.pad(diff[..., first:, :, :].to(start.dtype), (0, 1)).flatten(-3, -2)
        start_tail = F.pad(start, (0, 1), value=1.0).flatten(-3, -2)
        # 0 too for the columns of the first of them that are in a segment.
        gap = diff_tail @ moved + start_tail @ change
        gap.mul_(keep.reshape(gap.shape))
        grad_output += 2 * factor * ((diff_tail + start_tail).mT @ gap)
        grad_tail = 2 * factor * (gap @ moved.mT)[..., :-1]
        grad_diff[..., first:, :, :] += grad_tail.view_as(start)
        return gap.square().sum((-2, -1))


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
