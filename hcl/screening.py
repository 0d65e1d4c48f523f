"""The task of lowest entropy, from rough logits of all tasks and exact ones of a few.

If no logit is further than d from its exact value, the exact entropy H of a softmax is bound by
the rough one H~ (in nats): along the straight path between the logits,

    dH = -sum p_i (log p_i + H) dz_i,    |dH| <= d sum p_i |log p_i + H|

and the sum is at most 2 H, hence H >= H~ exp(-2 d); and it is at most the spread of log p, which
grows by a factor exp(d) and by 2 d at most, hence H >= H~ - d exp(d) (spread + 2 d).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from hcl.task_inference import entropy, pick

# d is this many times the largest error seen where logits are known both ways (those of the task
# that looks surest, for each input), or bfloat16's precision of a network's own largest logit for
# an input, if that is more. An error beyond it, in a network that never looks surest, would go
# unseen.
SAFETY = 2.0
PRECISION = 2.0**-8
# Inputs whose errors are a sample to speak of, and tasks that pay for it.
MIN_INPUTS, MIN_TASKS = 64, 4

Exact = Callable[[int, Tensor], Tensor]


def lowest_entropy(rough: Tensor, exact: Exact) -> tuple[Tensor, Tensor]:
    """The task whose exact logits have the lowest entropy, and these logits.

    Args:
        rough: (T, B, classes), nearly the logits of each task's network on the same inputs.
        exact: gives (n, classes), one task's exact logits of some inputs, from the task and int64
            (n,) rows.

    Returns:
        int64 (B,) and (B, classes).
    """
    log_p = rough.double().log_softmax(dim=-1)
    p = log_p.exp()
    entropies = -(p * log_p).sum(dim=-1)  # (T, B)
    surest = entropies.argmin(dim=0)
    logits = answers(surest, exact)
    sizes = rough.abs().amax(dim=-1).double()  # (T, B)
    seen = (logits - pick(rough, surest)).abs().max().double()
    error = SAFETY * torch.maximum(seen, PRECISION * sizes)
    best = entropy(logits)
    spread = (p * (log_p + entropies[..., None]).square()).sum(dim=-1).sqrt()
    lowest = torch.maximum(
        entropies * (-2 * error).exp(), entropies - error * error.exp() * (spread + 2 * error)
    )
    # NaN is never <=, so `~(>)`: logits without meaning are looked at, not left out.
    is_open = ~(lowest > best)
    is_open[surest, torch.arange(len(surest))] = False
    for task in is_open.any(dim=1).nonzero().flatten().tolist():
        rows = is_open[task].nonzero().flatten()
        found = exact(task, rows)
        its = entropy(found)
        # Of equal ones the earliest task, as argmin has it.
        is_better = (its < best[rows]) | ((its == best[rows]) & (task < surest[rows]))
        rows = rows[is_better]
        best[rows], surest[rows], logits[rows] = its[is_better], task, found[is_better]
    return surest, logits


def answers(task_ids: Tensor, exact: Exact) -> Tensor:
    """(B, classes): the logits of each input's own task, from int64 (B,)."""
    order = task_ids.argsort(stable=True)
    tasks, counts = task_ids.unique(return_counts=True)
    groups = order.split(counts.tolist())
    parts = [exact(task, rows) for task, rows in zip(tasks.tolist(), groups, strict=True)]
    found = torch.cat(parts)
    return torch.empty_like(found).index_copy_(0, order, found)
