"""Adam by torch's fused kernel: `CandidateAdam`'s numbers, faster."""

from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam


class FastAdam:
    """Adam (Kingma & Ba, 2015) that can also tell where its next step would lead.

    The fused kernel is one pass over memory instead of the dozen of `CandidateAdam`. It changes
    what it is given, so that the candidate is a step on copies.

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
        has_kernel = hasattr(torch, "_fused_adam_")
        self._is_fused = has_kernel and all(p.device.type in ("cpu", "cuda") for p in self.params)
        self._scratch: tuple[list[Tensor], ...] = ()

    @torch.no_grad()
    def ahead(self, grads: list[Tensor]) -> list[Tensor]:
        """Give the parameters as `step(grads)` would leave them, valid until the next call.

        With gradients for the first parameters alone, only these are given.
        """
        own = [kind[: len(grads)] for kind in (self.params, self.first, self.second)]
        if not self._scratch or len(self._scratch[0]) != len(grads):
            self._scratch = tuple([torch.empty_like(p) for p in kind] for kind in own)
        for scratch, kind in zip(self._scratch, own, strict=True):
            torch._foreach_copy_(scratch, kind)
        params, first, second = self._scratch
        self._adam(params, grads, first, second)
        return [p.detach() for p in params]

    @torch.no_grad()
    def step(self, grads: list[Tensor], more_grads: list[Tensor] | None = None) -> None:
        """Update moments and parameters.

        Args:
            grads: gradients. With those for the first parameters alone the others stay.
            more_grads: added to `grads`; overwritten.
        """
        if more_grads is not None:
            torch._foreach_add_(more_grads, grads)
            grads = more_grads
        params, first, second = (
            kind[: len(grads)] for kind in (self.params, self.first, self.second)
        )
        self._adam(params, grads, first, second)
        self.num_steps += 1

    def bias_corrections(self) -> tuple[float, float]:
        """Give 1 - beta^t for both moments, t being the number of the coming step."""
        scale1, scale2 = (1 - beta ** (self.num_steps + 1) for beta in self.betas)
        return scale1, scale2

    def _adam(
        self, params: list[Tensor], grads: list[Tensor], first: list[Tensor], second: list[Tensor]
    ) -> None:
        """Run torch's Adam on the tensors given, with the step count of the coming step."""
        numbers: Any = {
            "lr": self.lr, "beta1": self.betas[0], "beta2": self.betas[1], "eps": self.eps,
            "weight_decay": 0.0, "amsgrad": False, "maximize": False,
        }  # fmt: skip
        # The fused kernel reads gradients in the order of memory: transposed ones give nonsense.
        grads = [g.contiguous() for g in grads]
        device = self.params[0].device
        if self._is_fused:
            # Not by way of `adam`, which sorts the tensors by device and keeps a count for each:
            # on small layers that takes longer than the kernel.
            count = torch.full((), self.num_steps + 1.0, device=device)
            counts = [count] * len(params)
            torch._fused_adam_(params, grads, first, second, [], counts, **numbers)
        else:
            counts = [torch.full((), float(self.num_steps), device=device) for _ in params]
            adam(params, grads, first, second, [], counts, fused=False, foreach=True, **numbers)

    def state_dict(self) -> dict[str, Any]:
        """Give moments and step count: tensors and numbers only."""
        return {"first": self.first, "second": self.second, "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned, onto the parameters' device."""
        for mine, saved in ((self.first, state["first"]), (self.second, state["second"])):
            torch._foreach_copy_(mine, [s.to(m.device) for m, s in zip(mine, saved, strict=True)])
        self.num_steps = state["num_steps"]
