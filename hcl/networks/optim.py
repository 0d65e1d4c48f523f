"""The optimizer of every ordinary network."""

from collections.abc import Iterable

import torch
from torch import nn

from hcl.config import TrainConfig


def make_adam(parameters: Iterable[nn.Parameter], train: TrainConfig) -> torch.optim.Adam:
    """A fresh Adam at the trial's settings, in one pass over memory where the device can."""
    listed = list(parameters)
    is_fused = all(p.device.type in ("cpu", "cuda") for p in listed)
    betas = (train.adam_beta1, train.adam_beta2)
    return torch.optim.Adam(listed, lr=train.lr, betas=betas, fused=is_fused)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
