"""HNET+ENT's choice of a task: the network with the lowest predictive entropy."""

import torch
from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """Compute the entropy of softmax(logits) along the last dimension, in nats.

    Computed from log-softmax: `-sum(p log p)` is NaN once a probability underflows to 0, and
    argmin then picks the earliest task. Computed in float64: with gaps of over 100 between logits
    float32 probabilities are 0 and all alike.
    """
    log_p = logits.double().log_softmax(dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1)


def lowest_entropy(head_logits: Tensor) -> Tensor:
    """Choose the task whose network is surest of its answer (von Oswald et al., 2020, HNET+ENT).

    Args:
        head_logits: (T, B, classes), each task's network on the same inputs, own head only.

    Returns:
        int64 (B,); of equal entropies the earliest task.
    """
    return entropy(head_logits).argmin(dim=0)


def pick(per_task: Tensor, task_ids: Tensor) -> Tensor:
    """Take for each input its task's entry: (T, B, ...) and int64 (B,) -> (B, ...)."""
    return per_task[task_ids, torch.arange(len(task_ids), device=task_ids.device)]
