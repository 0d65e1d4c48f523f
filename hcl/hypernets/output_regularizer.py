"""The output regularizer of von Oswald et al. (2020), eq. 2, without generating any weights."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hcl.hypernets.hypernet import Hypernet, Theta


class GramPenalty(torch.autograd.Function):
    """||A V^T + 1 b^T - A* V*^T - 1 b*^T||_F^2 from H x H products alone.

    With D = A - A*, E = V - V*, f = b - b* the difference is D V^T + A* E^T + 1 f^T, so its square
    needs D^T D, D^T A*, A*^T A* (all tasks and chunks) and V^T V, V^T E, E^T E (all outputs).
    Every term is a product of small differences: nothing cancels (DESIGN.md, section 4).
    """

    @staticmethod
    def forward(
        ctx: Any,
        diff: Tensor,  # D (M, H), M = tasks x chunks
        start: Tensor,  # A* (M, H)
        weight: Tensor,  # V (C, H), C = chunk size
        weight_diff: Tensor,  # E (C, H); its gradient goes to `weight`
        bias_diff: Tensor,  # f (C,)
        start_gram: Tensor,  # A*^T A* (H, H)
        start_sum: Tensor,  # sum of A*'s rows (H,)
    ) -> Tensor:
        gram, cross, diff_sum = diff.T @ diff, diff.T @ start, diff.sum(0)
        outer, mixed = weight.T @ weight, weight.T @ weight_diff
        by_bias = bias_diff @ weight
        total = (gram * outer).sum() + 2 * (cross * mixed).sum()
        total = total + (start_gram * (weight_diff.T @ weight_diff)).sum()
        total = total + 2 * (diff_sum @ by_bias + start_sum @ (bias_diff @ weight_diff))
        ctx.save_for_backward(
            diff,
            start,
            weight,
            weight_diff,
            bias_diff,
            gram,
            cross,
            outer,
            mixed,
            by_bias,
            diff_sum,
            start_gram,
            start_sum,
        )
        return total + len(diff) * bias_diff.dot(bias_diff)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        (
            diff,
            start,
            weight,
            weight_diff,
            bias_diff,
            gram,
            cross,
            outer,
            mixed,
            by_bias,
            diff_sum,
            start_gram,
            start_sum,
        ) = ctx.saved_tensors
        twice = 2 * scale
        grad_diff = torch.addmm(by_bias.expand(len(diff), -1), diff, outer)
        grad_diff = grad_diff.addmm_(start, mixed.T).mul_(twice)
        grad_weight = weight @ (gram + cross) + weight_diff @ (cross.T + start_gram)
        grad_weight = grad_weight.addr_(bias_diff, diff_sum + start_sum).mul_(twice)
        grad_bias = weight @ diff_sum + weight_diff @ start_sum + len(diff) * bias_diff
        return grad_diff, None, grad_weight, None, grad_bias.mul_(twice), None, None


class OutputRegularizer:
    """Mean over past tasks of the squared distance between their weights now and at task start.

    Chunks whose every output counts ("body") go through GramPenalty; the few others ("tail": the
    cut last chunk and, where other tasks' heads are masked, the chunks that hold heads) are
    compared directly, where a 0/1 mask is simple.

    Args:
        hypernet: the hypernetwork, at the parameters to keep.
        embeddings: (t, embedding_size) of the past tasks, frozen.
        keep: bool (t, num_weights), weights that count for each past task; None for all.
        first_masked: index of the first weight that `keep` may exclude.
        theta_start: parameters to keep instead of the hypernetwork's own (a restart).
    """

    def __init__(
        self,
        hypernet: Hypernet,
        embeddings: Tensor,
        keep: Tensor | None = None,
        first_masked: int | None = None,
        theta_start: Theta | None = None,
    ) -> None:
        self.hypernet = hypernet
        self.embeddings = embeddings.detach()
        self.theta_start = theta_start or [p.detach().clone() for p in hypernet.theta()]
        end = hypernet.num_weights if keep is None or first_masked is None else first_masked
        self.num_body = end // hypernet.chunk_size
        self.keep = self._tail_mask(keep)
        with torch.no_grad():
            self.start = hypernet.features(self.embeddings, self.theta_start)  # (t, K, H)
            body = self.start[:, : self.num_body]
            self.start_grams = body.transpose(1, 2) @ body  # (t, H, H)
            self.start_sums = body.sum(1)  # (t, H)
            self.total_gram, self.total_sum = self.start_grams.sum(0), self.start_sums.sum(0)

    def _tail_mask(self, keep: Tensor | None) -> Tensor | None:
        """(t or 1, tail chunks * chunk size): 1 where a tail output counts; None without tail."""
        hypernet = self.hypernet
        first, last = self.num_body * hypernet.chunk_size, hypernet.num_weights
        if first >= last:
            return None
        size = (hypernet.num_chunks - self.num_body) * hypernet.chunk_size
        like = self.theta_start[0]
        mask = torch.zeros(1 if keep is None else len(keep), size, dtype=like.dtype)
        mask[:, : last - first] = 1.0 if keep is None else keep[:, first:last].to(mask)
        return mask.to(like.device)

    def __call__(self, theta: Theta, tasks: Tensor | None = None) -> Tensor:
        """The penalty at `theta` (without beta).

        Args:
            theta: parameters as `Hypernet.theta()` lists them, e.g. own ones + candidate step.
            tasks: int64, past tasks to regularize; None for all. The mean is over these.
        """
        if tasks is None:
            embeddings, start, keep = self.embeddings, self.start, self.keep
            gram, total = self.total_gram, self.total_sum
        else:
            embeddings, start, keep = self.embeddings[tasks], self.start[tasks], self.keep
            gram, total = self.start_grams[tasks].sum(0), self.start_sums[tasks].sum(0)
            keep = keep[tasks] if keep is not None and len(keep) > 1 else keep
        weight, bias = theta[-2:]
        weight_diff = (weight - self.theta_start[-2]).detach()
        bias_diff = bias - self.theta_start[-1]
        diff = self.hypernet.features(embeddings, theta) - start  # (t, K, H)
        body = slice(0, self.num_body)
        penalty = GramPenalty.apply(
            diff[:, body].flatten(0, 1),
            start[:, body].flatten(0, 1),
            weight,
            weight_diff,
            bias_diff,
            gram,
            total,
        )
        if keep is not None:
            tail = diff[:, self.num_body :] @ weight.T + bias_diff
            tail = tail + start[:, self.num_body :] @ (weight - self.theta_start[-2]).T
            penalty = penalty + (tail.flatten(1) * keep).square().sum()
        return penalty / len(embeddings)
