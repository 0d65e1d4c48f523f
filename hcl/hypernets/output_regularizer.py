"""The output regularizer of von Oswald et al. (2020), eq. 2, without generating any weights.

Let A be the features [phi(e_t, c_i), 1] of all past tasks t and chunks i, a row each, and V the
output layer (H + 1, C), so that the generated chunks are A V. Against their values at the start of
the task, A* and V*, with D = A - A* and E = V - V*,

    A V - A* V*      = D V + A* E                                           (exact)
    ||A V - A* V*||^2 = <D'D, V V'> + 2 <D'A*, V E'> + <A*'A*, E E'>        (' = transposed)

so that small matrices (H + 1, H + 1) say how far all generated weights have moved. No target
weights are stored or generated, and the cost does not grow with tasks x chunks x chunk size. Every
term is a product of differences: nothing cancels, and float32 is enough.

Two kinds of weights must not count, and are left out chunk by chunk: those beyond the cut of the
last chunk, by leaving out columns of V; and those that a mask excludes, by comparing the chunks
which have such weights one weight at a time.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.hypernets.hypernet import Hypernet, Theta


class HeadMask(NamedTuple):
    """Says which weights count for each past task, where not all do.

    Attributes:
        keep: bool (t, num_weights), the weights that count.
        first_masked: index of the first weight that `keep` excludes for any task.
    """

    keep: Tensor
    first_masked: int


class OutputRegularizer:
    """Mean over past tasks of the squared distance between their weights now and at task start.

    Args:
        hypernet: the hypernetwork, of which only the shape is read.
        embeddings: (t, embedding_size), those of the past tasks, frozen.
        theta_start: the parameters at the start of the task.
        mask: the weights that count; None for all.
    """

    def __init__(
        self,
        hypernet: Hypernet,
        embeddings: Tensor,
        theta_start: Theta,
        mask: HeadMask | None = None,
    ) -> None:
        self.hypernet, self.embeddings = hypernet, embeddings.detach()
        self.theta_start = [p.detach() for p in theta_start]
        self.features_start = hypernet.features(self.embeddings, self.theta_start)  # A* (t, K, .)
        end = hypernet.num_weights if mask is None else mask.first_masked
        self.whole, self.cut = divmod(end, hypernet.chunk_size)
        # 1 for weights that are compared one by one, in the chunks after the whole ones.
        self.mask: Tensor | None = None
        if mask is not None:
            per_task = hypernet.num_chunks * hypernet.chunk_size
            is_after = torch.arange(per_task, device=mask.keep.device) >= end
            one_by_one = is_after & F.pad(mask.keep, (0, per_task - mask.keep.shape[1]))
            self.mask = one_by_one[:, self.whole * hypernet.chunk_size :].to(self.features_start)

    def __call__(self, theta: Theta, tasks: Tensor | None = None) -> Tensor:
        """Compute the penalty, without beta; differentiable.

        Args:
            theta: parameters as `Hypernet.theta` lists them, such as own ones + candidate step.
            tasks: int64, past tasks to regularize; None for all. The mean is over these.
        """
        embeddings, start, mask = self.embeddings, self.features_start, self.mask
        if tasks is not None:
            embeddings, start = embeddings[tasks], start[tasks]
            mask = None if mask is None else mask[tasks]
        diff = self.hypernet.features(embeddings, theta) - start
        output, change = theta[-1], theta[-1] - self.theta_start[-1]
        whole, rest = slice(0, self.whole), slice(self.whole, self.whole + 1)
        cut = slice(0, self.cut)
        total = _squared_change(diff[:, whole], start[:, whole], output, change)
        total = total + _squared_change(
            diff[:, rest], start[:, rest], output[:, cut], change[:, cut]
        )
        if mask is not None:
            moved = diff[:, self.whole :] @ output + start[:, self.whole :] @ change
            total = total + (mask * moved.flatten(1)).square().sum()
        return total / len(embeddings)

    def value_and_grads(
        self, theta: Theta, tasks: Tensor | None = None, strength: float = 1.0
    ) -> tuple[Tensor, list[Tensor]]:
        """Compute `strength` times the penalty, and its gradient for each of `theta`."""
        leaves = [p.detach().requires_grad_() for p in theta]
        value = strength * self(leaves, tasks)
        return value.detach(), list(torch.autograd.grad(value, leaves))


def _squared_change(diff: Tensor, start: Tensor, output: Tensor, change: Tensor) -> Tensor:
    """||D V + A* E||^2 by the formula above, over the rows and columns given."""
    d, a = diff.flatten(0, 1), start.flatten(0, 1)
    total = (d.T @ d * (output @ output.T)).sum()
    total = total + 2 * (d.T @ a * (output @ change.T)).sum()
    return total + (a.T @ a * (change @ change.T)).sum()
