"""Losses on replayed samples: their targets are an earlier network's answers."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Unseen = Literal["zero_logit", "zero_probability"]


def hard_loss(logits: Tensor, old_logits: Tensor) -> Tensor:
    """Compute the cross-entropy with the old network's most likely class, mean over samples.

    Args:
        logits: (B, C) of the network being trained.
        old_logits: (B, C') of the earlier network, C' <= C: it has not seen the last classes.
    """
    return F.cross_entropy(logits, old_logits.argmax(dim=1))


def distillation_loss(
    logits: Tensor,
    old_logits: Tensor,
    temperature: float = 2.0,
    unseen: Unseen = "zero_logit",
    classes: Literal["sum", "mean_over_classes"] = "sum",
) -> Tensor:
    """Compute the soft-target cross-entropy at temperature T (Hinton et al., 2015), batch mean.

    T^2 * mean_n( -sum_c softmax(old_n / T)_c log softmax(new_n / T)_c ); the factor T^2 keeps the
    gradient's size. `mean_over_classes` divides this by the number of classes C.

    Args:
        logits: (B, C) of the network being trained.
        old_logits: (B, C') of the earlier network, C' <= C.
        temperature: T, of both networks.
        unseen: targets of the C - C' classes that the old network has not seen: logit 0 (as in the
            authors' code of HNET+R) or probability 0 (as in van de Ven & Tolias').
        classes: sum over the C classes, or their mean (as in van de Ven & Tolias' published runs).
    """
    missing = logits.shape[1] - old_logits.shape[1]
    scaled = old_logits / temperature
    if unseen == "zero_logit":
        targets = F.pad(scaled, (0, missing)).softmax(dim=1)
    else:
        targets = F.pad(scaled.softmax(dim=1), (0, missing))
    log_p = (logits / temperature).log_softmax(dim=1)
    per_class = -(targets * log_p)
    per_sample = per_class.sum(dim=1) if classes == "sum" else per_class.mean(dim=1)
    return per_sample.mean() * temperature**2
