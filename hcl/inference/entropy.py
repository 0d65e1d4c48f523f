"""Which task is an input from? Answers of networks, one per task, compared."""

import torch
from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of softmax(logits) along the last dimension.

    From log-softmax: `-sum(p log p)` is NaN once a probability underflows to 0, and argmin then
    picks the earliest task (PAPER.md, section 1b, reproduction trap). In float64, so that gaps of
    over 100 between logits, where float32 probabilities are 0, still differ.
    """
    log_p = logits.double().log_softmax(dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1)


def lowest_entropy(head_logits: Tensor) -> Tensor:
    """HNET+ENT (von Oswald et al., 2020): the task whose network is surest of its answer.

    Args:
        head_logits: (T, B, classes), each task's network on the same inputs, own head only.

    Returns:
        int64 (B,)
    """
    return entropy(head_logits).argmin(dim=0)


def pick(per_task: Tensor, task_ids: Tensor) -> Tensor:
    """(T, B, ...) and int64 (B,) -> (B, ...): for each input the answer of its task's network."""
    return per_task[task_ids, torch.arange(len(task_ids), device=task_ids.device)]
