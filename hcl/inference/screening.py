"""The task of lowest entropy, found faster by a heuristic: 8-bit networks rule out most tasks.

Approximate ("rough") logits come from 8-bit networks, four times as fast as exact ones. They rule
out most tasks; the few that are left run exactly, and the exact entropies decide. This is not
guaranteed to be the task that exact logits of all tasks would give: see the last paragraph.

A task is ruled out by a bound. If no logit is further than d from its exact value, the exact
entropy H of the softmax is at least a function of the rough entropy H~ (in nats): along the
straight path between the two logit vectors z, with l = log p,

    dH = -sum p_i (l_i + H) dz_i,    |dH| <= d A,    A = sum p_i |l_i + H|

A is at most 2 H, hence H >= H~ exp(-2 d). And A itself grows slowly: |dp_i| <= 2 d p_i,
sum p_i |dl_i| <= d and |d sum p_i l_i| <= d A, so |dA| <= 3 d A + d, hence

    H >= H~ - ((A~ + 1/3) (exp(3 d) - 1) - d) / 3

These bounds are proved, **but d is a guess**: twice the largest error seen where logits are known
both ways (SAFETY below). No theorem says that an input whose error was never looked at is not
further off. The choice is the exact one for every input whose errors stay within d, which is all
inputs ever measured, and may be another task for an input beyond it. `train/kernels: plain`
computes every task's exact logits instead.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from hcl.inference.entropy import entropy, pick

# A heuristic, not a bound: d is this many times the largest error seen. Errors are seen for the
# task that looks surest, for each input, and for every network on a sample of the inputs. The
# largest error of all, over networks of 8 bits both untrained and trained, was 0.73 d.
SAFETY = 2.0
# From this many inputs on the sample says something about the errors, and from this many tasks on
# screening saves time.
MIN_INPUTS, MIN_TASKS = 64, 4

# Gives (n, classes), one task's exact logits for some inputs: from the task and int64 (n,) rows.
Exact = Callable[[int, Tensor], Tensor]


def largest_errors(rough: Tensor, exact: Exact, rows: Tensor) -> Tensor:
    """Measure each network's largest error on a sample of the inputs.

    Args:
        rough: (T, B, classes).
        exact: see `Exact`.
        rows: int64, the sample.

    Returns:
        (T,)
    """
    known = torch.stack([exact(task, rows) for task in range(len(rough))])
    return (known - rough[:, rows]).abs().nan_to_num(0.0, torch.inf).amax((1, 2))


def lowest_entropy(rough: Tensor, exact: Exact, errors: Tensor) -> tuple[Tensor, Tensor]:
    """Choose the task whose exact logits have the lowest entropy; see the module for the catch.

    Args:
        rough: (T, B, classes), about the logits of each task's network on the same inputs; NaN
            where they are not known.
        exact: see `Exact`.
        errors: (T,), from `largest_errors`.

    Returns:
        int64 (B,) and these tasks' exact logits, (B, classes).
    """
    log_p = rough.double().log_softmax(dim=-1)
    p = log_p.exp()
    entropies = -(p * log_p).sum(dim=-1)  # (T, B)
    surest = entropies.nan_to_num(torch.inf).argmin(dim=0)
    logits = answers(surest, exact)
    seen = (logits - pick(rough, surest)).abs().nan_to_num(0.0, torch.inf).max()
    error = SAFETY * torch.maximum(seen, errors)[:, None].double()  # d
    best = entropy(logits)
    spread = log_p.add_(entropies[..., None]).abs_().mul_(p).sum(dim=-1)  # A~
    fall = ((spread + 1 / 3) * (3 * error).expm1() - error) / 3
    lowest = torch.maximum(entropies * (-2 * error).exp(), entropies - fall)
    # A comparison with NaN is false, so `~(>)`: unknown logits are looked at, not left out.
    is_open = ~(lowest > best)
    is_open[surest, torch.arange(len(surest))] = False
    for task in is_open.any(dim=1).nonzero().flatten().tolist():
        rows = is_open[task].nonzero().flatten()
        found = exact(task, rows)
        its = entropy(found)
        # Of equal entropies the earliest task wins, as with argmin.
        is_better = (its < best[rows]) | ((its == best[rows]) & (task < surest[rows]))
        rows = rows[is_better]
        best[rows], surest[rows], logits[rows] = its[is_better], task, found[is_better]
    return surest, logits


def answers(task_ids: Tensor, exact: Exact) -> Tensor:
    """Return the logits of each input's own task: int64 (B,) -> (B, classes)."""
    order = task_ids.argsort(stable=True)
    tasks, counts = task_ids.unique(return_counts=True)
    groups = order.split(counts.tolist())
    parts = [exact(task, rows) for task, rows in zip(tasks.tolist(), groups, strict=True)]
    found = torch.cat(parts)
    return torch.empty_like(found).index_copy_(0, order, found)
