"""The task of lowest entropy, from rough logits of all tasks and exact ones of a few.

If no logit is further than d from its exact value, the exact entropy H of a softmax is bound by
the rough one H~ (in nats): along the straight path between the logits, with l = log p,

    dH = -sum p_i (l_i + H) dz_i,    |dH| <= d A,    A = sum p_i |l_i + H|

A is at most 2 H, hence H >= H~ exp(-2 d). And A itself grows slowly: |dp_i| <= 2 d p_i,
sum p_i |dl_i| <= d and |d sum p_i l_i| <= d A, so |dA| <= 3 d A + d, hence

    H >= H~ - ((A~ + 1/3) (exp(3 d) - 1) - d) / 3
"""

from collections.abc import Callable

import torch
from torch import Tensor

from hcl.inference.entropy import entropy, pick

# d is this many times the largest error seen where logits are known both ways: those of the task
# that looks surest, for each input, and the network's own ones for a sample. Networks of 8 bits,
# untrained and trained, were off by 0.73 d at most.
SAFETY = 2.0
# Inputs whose errors are a sample to speak of, and tasks that pay for it.
MIN_INPUTS, MIN_TASKS = 64, 4

Exact = Callable[[int, Tensor], Tensor]


def largest_errors(rough: Tensor, exact: Exact, rows: Tensor) -> Tensor:
    """(T,): each network's on some int64 rows; for the rest see `lowest_entropy`."""
    known = torch.stack([exact(task, rows) for task in range(len(rough))])
    return (known - rough[:, rows]).abs().nan_to_num(0.0, torch.inf).amax((1, 2))


def lowest_entropy(rough: Tensor, exact: Exact, errors: Tensor) -> tuple[Tensor, Tensor]:
    """The task whose exact logits have the lowest entropy, and these logits.

    Args:
        rough: (T, B, classes), nearly the logits of each task's network on the same inputs; NaN
            where they are not known.
        exact: gives (n, classes), one task's exact logits of some inputs, from the task and int64
            (n,) rows.
        errors: (T,), see `largest_errors`.

    Returns:
        int64 (B,) and (B, classes).
    """
    log_p = rough.double().log_softmax(dim=-1)
    p = log_p.exp()
    entropies = -(p * log_p).sum(dim=-1)  # (T, B)
    surest = entropies.nan_to_num(torch.inf).argmin(dim=0)
    logits = answers(surest, exact)
    seen = (logits - pick(rough, surest)).abs().nan_to_num(0.0, torch.inf).max()
    error = SAFETY * torch.maximum(seen, errors)[:, None].double()
    best = entropy(logits)
    spread = log_p.add_(entropies[..., None]).abs_().mul_(p).sum(dim=-1)
    fall = ((spread + 1 / 3) * (3 * error).expm1() - error) / 3
    lowest = torch.maximum(entropies * (-2 * error).exp(), entropies - fall)
    # NaN is never <=, so `~(>)`: unknown logits are looked at, not left out.
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
