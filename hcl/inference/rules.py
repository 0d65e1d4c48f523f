"""Rules that infer an input's task from the networks of all tasks, beside the lowest entropy.

All are scored from the same networks: a rule matters at prediction alone. entropy.py has the
default, HNET+ENT.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from hcl.inference.entropy import entropy


class Evidence(NamedTuple):
    """Facts that a rule may look at.

    Attributes:
        x: inputs, (B, ...).
        weights: of all tasks' networks, (T, num_weights).
        heads: what these networks answer with their own heads, (T, B, classes).
    """

    x: Tensor
    weights: Tensor
    heads: Tensor


# Scores tasks, (T, B), of which each input's largest wins.
Rule = Callable[[Evidence], Tensor]


def max_logit(evidence: Evidence) -> Tensor:
    """Score a task by its network's largest logit (MaxLogit of Hendrycks et al., 2022)."""
    return evidence.heads.amax(dim=-1)


def gap(logits: Tensor) -> Tensor:
    """Subtract the second largest logit from the largest: (..., classes) -> (...)."""
    first, second = logits.topk(2, dim=-1).values.unbind(-1)
    return first - second


def gap_statistics(logits: Tensor) -> Tensor:
    """Give mean and standard deviation of the gaps on a task's own inputs: (B, C) -> (2,)."""
    gaps = gap(logits.double())
    return torch.stack([gaps.mean(), gaps.std(correction=0).clamp_min(1e-9)])


def gap_zscore(statistics: Tensor) -> Rule:
    """Compare each network's gap with the gaps that it has on its own task's training inputs.

    Score z_t = (g_t - mean_t) / std_t, g the difference of the two largest logits. Gaps shrink
    from task to task, which favours early tasks where raw gaps or entropies are compared; their
    own statistics take that out. A rule of this library, from no paper.

    Args:
        statistics: (T, 2), `gap_statistics` of each task at its end.
    """

    def score(evidence: Evidence) -> Tensor:
        mean, std = statistics[:, None].unbind(-1)
        return (gap(evidence.heads.double()) - mean) / std

    return score


def entropy_gradient(run: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """Mix the networks, and ask whose larger share makes the mixture surest (SupSup, one-shot).

    Wortsman et al. (2020), section 3.2: p(alpha) is the output for weights sum_t alpha_t W_t, and
    the task is argmax_t -dH(p) / dalpha_t at alpha_t = 1 / T. They mix masks of one network, here
    the mixture is of generated weights. The derivatives are exact, of each input by itself.

    Args:
        run: gives the outputs that compete, (B, C), from one network's weights (num_weights,) and
            inputs (B, ...); differentiable twice.
    """

    @torch.enable_grad()
    def score(evidence: Evidence) -> Tensor:
        mixture = evidence.weights.mean(dim=0).requires_grad_()
        spread = entropy(run(mixture, evidence.x))
        ones = torch.ones_like(spread, requires_grad=True)
        (grad,) = torch.autograd.grad(spread, mixture, ones, create_graph=True)
        # `grad` is linear in `ones`: its product with a direction has each input's slope along it
        # as gradient.
        slopes = [
            torch.autograd.grad(grad, ones, own, retain_graph=True)[0] for own in evidence.weights
        ]
        return -torch.stack(slopes)

    return score
