"""The optimizer of every network that is not generated."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hcl.config import TrainConfig


def make_adam(parameters: Iterable[nn.Parameter], train: TrainConfig) -> torch.optim.Adam:
    """Make a new Adam with the trial's settings, in one pass over memory where the device can."""
    listed = list(parameters)
    is_fused = all(p.device.type in ("cpu", "cuda") for p in listed)
    betas = (train.adam_beta1, train.adam_beta2)
    return torch.optim.Adam(listed, lr=train.lr, betas=betas, fused=is_fused)


def take_step(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    """Minimise `loss` by one step of the optimizer; return the loss, detached."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
