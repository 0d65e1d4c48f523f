"""Adam whose next step can be known before it is taken: the paper's lookahead."""

from typing import Any, Protocol

import torch
from torch import Tensor


class AdamState(Protocol):
    """State that decides Adam's next step, beside the gradients."""

    lr: float
    betas: tuple[float, float]
    eps: float
    first: list[Tensor]  # moments, of the parameters' shapes
    second: list[Tensor]
    num_steps: int


def candidate(adam: AdamState, grads: list[Tensor]) -> list[Tensor]:
    """Compute the step that Adam would take on these gradients; differentiable, nothing changes.

    The output regularizer is evaluated at theta + this step, with the gradients of the task loss
    alone (von Oswald et al., 2020, eq. 2). Adam (Kingma & Ba, 2015) has epsilon where today's
    PyTorch has it, outside of the bias-corrected root.
    """
    beta1, beta2 = adam.betas
    t = adam.num_steps + 1
    steps = []
    for first, second, grad in zip(adam.first, adam.second, grads, strict=True):
        m = torch.lerp(first, grad, 1 - beta1) / (1 - beta1**t)
        v = (second * beta2 + (1 - beta2) * grad * grad) / (1 - beta2**t)
        # sqrt has an infinite slope at 0, where dead units sit: 0 * inf would be NaN.
        root = torch.where(v > 0, v, 1.0).sqrt() * (v > 0)
        steps.append(-adam.lr * m / (root + adam.eps))
    return steps


class CandidateAdam:
    """Adam for a list of tensors, in plain operations.

    Args:
        params: the tensors to optimize, changed in place by `step`.
        lr: learning rate.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
    """

    def __init__(
        self,
        params: list[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.params = [p.detach() for p in params]  # the same storage
        self.lr, self.betas, self.eps = lr, betas, eps
        self.first = [torch.zeros_like(p) for p in self.params]
        self.second = [torch.zeros_like(p) for p in self.params]
        self.num_steps = 0

    @torch.no_grad()
    def ahead(self, grads: list[Tensor]) -> list[Tensor]:
        """Give the parameters as `step(grads)` would leave them."""
        return [p + d for p, d in zip(self.params, candidate(self, grads), strict=True)]

    @torch.no_grad()
    def step(self, grads: list[Tensor], more_grads: list[Tensor] | None = None) -> None:
        """Update moments and parameters on the sum of both lists of gradients."""
        if more_grads is not None:
            grads = [g + more for g, more in zip(grads, more_grads, strict=True)]
        for p, d in zip(self.params, candidate(self, grads), strict=True):
            p += d
        beta1, beta2 = self.betas
        for first, second, grad in zip(self.first, self.second, grads, strict=True):
            first.copy_(beta1 * first + (1 - beta1) * grad)
            second.copy_(beta2 * second + (1 - beta2) * grad**2)
        self.num_steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Give moments and step count: tensors and numbers only."""
        return {"first": self.first, "second": self.second, "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned, onto the parameters' device."""
        for mine, saved in ((self.first, state["first"]), (self.second, state["second"])):
            for m, s in zip(mine, saved, strict=True):
                m.copy_(s)
        self.num_steps = state["num_steps"]
