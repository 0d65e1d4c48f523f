"""Adam whose next step can be known before it is taken."""

from typing import Any

import torch
from torch import Tensor

Tensors = list[Tensor] | tuple[Tensor, ...]


class CandidateAdam:
    """Adam (Kingma & Ba, 2015) for a list of tensors, with today's placing of epsilon.

    The output regularizer is evaluated at theta + delta, delta being the step that Adam would take
    on the task loss alone (von Oswald et al., 2020, eq. 2): `candidate` gives it and changes
    nothing.

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

    def candidate(self, grads: list[Tensor]) -> list[Tensor]:
        """The step that `step(grads)` would add to the parameters."""
        first = torch._foreach_lerp(self.first, grads, 1 - self.betas[0])
        second = torch._foreach_mul(self.second, self.betas[1])
        torch._foreach_addcmul_(second, grads, grads, 1 - self.betas[1])
        return self._update(first, second, self.num_steps + 1)

    def differentiable_candidate(self, grads: list[Tensor]) -> list[Tensor]:
        """`candidate` as a differentiable function of `grads`."""
        scale1 = 1 - self.betas[0] ** (self.num_steps + 1)
        scale2 = 1 - self.betas[1] ** (self.num_steps + 1)
        steps = []
        for first, second, grad in zip(self.first, self.second, grads, strict=True):
            m = torch.lerp(first, grad, 1 - self.betas[0]) / scale1
            v = (second * self.betas[1] + (1 - self.betas[1]) * grad * grad) / scale2
            # sqrt has an infinite slope at 0, where dead units sit: 0 * inf would be NaN.
            root = torch.where(v > 0, v, 1.0).sqrt() * (v > 0)
            steps.append(-self.lr * m / (root + self.eps))
        return steps

    @torch.no_grad()
    def step(self, grads: list[Tensor]) -> None:
        """Update moments and parameters."""
        self.num_steps += 1
        torch._foreach_lerp_(self.first, grads, 1 - self.betas[0])
        torch._foreach_mul_(self.second, self.betas[1])
        torch._foreach_addcmul_(self.second, grads, grads, 1 - self.betas[1])
        update = self._update(self.first, self.second, self.num_steps)
        torch._foreach_add_(self.params, update)

    def _update(self, first: Tensors, second: Tensors, num_steps: int) -> list[Tensor]:
        correction1 = 1 - self.betas[0] ** num_steps
        correction2 = 1 - self.betas[1] ** num_steps
        root = torch._foreach_sqrt(second)
        torch._foreach_div_(root, correction2**0.5)
        torch._foreach_add_(root, self.eps)
        update = torch._foreach_div(first, root)
        torch._foreach_mul_(update, -self.lr / correction1)
        return list(update)

    def state_dict(self) -> dict[str, Any]:
        """Moments and step count; tensors and numbers only."""
        return {"first": self.first, "second": self.second, "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned, onto the parameters' device."""
        for mine, saved in ((self.first, state["first"]), (self.second, state["second"])):
            torch._foreach_copy_(mine, [s.to(m.device) for m, s in zip(mine, saved, strict=True)])
        self.num_steps = state["num_steps"]
