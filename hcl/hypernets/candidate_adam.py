"""Adam whose next step can be known before it is taken."""

from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from hcl.kernels.compiled_adam import CompiledAdam, compile_for


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
        # One pass over memory instead of a dozen, where the device has the kernel.
        has_kernel = hasattr(torch, "_fused_adam_")
        self._is_fused = has_kernel and all(p.device.type in ("cpu", "cuda") for p in self.params)
        self._scratch: tuple[list[Tensor], ...] = ()
        self._lower: list[Tensor] = []
        self.compiled: CompiledAdam | None = None

    def compile(self) -> float:
        """Use compiled kernels from now on, where they can be made; the seconds it took."""
        self.compiled = compile_for(self.params, self.betas, self.eps)
        self._lower = [torch.empty_like(p) for p in self.params[:-1]]
        return self.compiled.seconds if self.compiled else 0.0

    @torch.no_grad()
    def after_step(self, grads: list[Tensor]) -> list[Tensor]:
        """The parameters as `step(grads)` would leave them; valid until the next call."""
        own = [kind[: len(grads)] for kind in (self.params, self.first, self.second)]
        if not self._scratch or len(self._scratch[0]) != len(grads):
            self._scratch = tuple([torch.empty_like(p) for p in kind] for kind in own)
        for scratch, kind in zip(self._scratch, own, strict=True):
            torch._foreach_copy_(scratch, kind)
        params, first, second = self._scratch
        self._adam(params, grads, first, second)
        return [p.detach() for p in params]

    @torch.no_grad()
    def ahead(self, grads: list[Tensor], base: Tensor, change: Tensor) -> list[Tensor]:
        """The parameters as `step(grads)` would leave them, valid until the next call; instead of
        the last one, its distance from `base` is written to `change`."""
        if self.compiled is None:
            *lower, last = self.after_step(grads)
            torch.sub(last, base, out=change)
            return lower
        self.compiled.ahead(
            self.params, grads, self.first, self.second, base, [*self._lower, change],
            self._scalars(), self.betas, self.eps,
        )  # fmt: skip
        return self._lower

    def _scales(self) -> tuple[float, float]:
        """1 - beta^t of the coming step, for both moments."""
        scale1, scale2 = (1 - beta ** (self.num_steps + 1) for beta in self.betas)
        return scale1, scale2

    def _scalars(self) -> Tensor:
        """Of the coming step; see adam_kernels.ahead."""
        scale1, scale2 = self._scales()
        # Filled on the device: a copy from the host would wait for it, in every step.
        scalars = torch.full((2,), self.lr / scale1, device=self.params[0].device)
        scalars[1] = scale2**0.5
        return scalars

    def numbers(self) -> tuple[float, ...]:
        """Of the coming step; see one_pass.OutputLayer."""
        scale1, scale2 = self._scales()
        beta1, beta2 = self.betas
        # 1 - beta here, in double precision: in float32 it would be off by 1e-5 and more.
        return (self.lr / scale1, scale2**-0.5, 1 - beta1, beta2, 1 - beta2, self.eps)

    def candidate(self, grads: list[Tensor]) -> list[Tensor]:
        """The step that `step(grads)` would add to the parameters."""
        return list(torch._foreach_sub(self.after_step(grads), self.params))

    def differentiable_candidate(self, grads: list[Tensor]) -> list[Tensor]:
        """`candidate` as a differentiable function of `grads`."""
        scale1, scale2 = self._scales()
        steps = []
        for first, second, grad in zip(self.first, self.second, grads, strict=True):
            m = torch.lerp(first, grad, 1 - self.betas[0]) / scale1
            v = (second * self.betas[1] + (1 - self.betas[1]) * grad * grad) / scale2
            # sqrt has an infinite slope at 0, where dead units sit: 0 * inf would be NaN.
            root = torch.where(v > 0, v, 1.0).sqrt() * (v > 0)
            steps.append(-self.lr * m / (root + self.eps))
        return steps

    @torch.no_grad()
    def step(self, grads: list[Tensor], more_grads: list[Tensor] | None = None) -> None:
        """Update moments and parameters; the gradient is the sum of both (`more_grads` is used
        up). With gradients of the first parameters alone the others stay."""
        if self.compiled is None or more_grads is None:
            if more_grads is not None:
                torch._foreach_add_(more_grads, grads)
            params, first, second = (
                kind[: len(grads)] for kind in (self.params, self.first, self.second)
            )
            self._adam(params, grads if more_grads is None else more_grads, first, second)
        else:
            self.compiled.step(
                self.params, grads, more_grads, self.first, self.second, self._scalars(),
                self.betas, self.eps,
            )  # fmt: skip
        self.num_steps += 1

    def _adam(
        self, params: list[Tensor], grads: list[Tensor], first: list[Tensor], second: list[Tensor]
    ) -> None:
        """torch's own Adam, on the tensors given and the step count of the next step."""
        numbers: Any = {
            "lr": self.lr, "beta1": self.betas[0], "beta2": self.betas[1], "eps": self.eps,
            "weight_decay": 0.0, "amsgrad": False, "maximize": False,
        }  # fmt: skip
        # The fused kernel reads gradients as they lie in memory: others give nonsense.
        grads = [g.contiguous() for g in grads]
        device = self.params[0].device
        if self._is_fused:
            # Not by way of `adam`, which sorts the tensors by device, with one count for each, in
            # every step: that takes longer than the kernel on small layers.
            count = torch.full((), self.num_steps + 1.0, device=device)
            counts = [count] * len(params)
            torch._fused_adam_(params, grads, first, second, [], counts, **numbers)
        else:
            counts = [torch.full((), float(self.num_steps), device=device) for _ in params]
            adam(params, grads, first, second, [], counts, fused=False, foreach=True, **numbers)

    def state_dict(self) -> dict[str, Any]:
        """Moments and step count; tensors and numbers only."""
        return {"first": self.first, "second": self.second, "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned, onto the parameters' device."""
        for mine, saved in ((self.first, state["first"]), (self.second, state["second"])):
            torch._foreach_copy_(mine, [s.to(m.device) for m, s in zip(mine, saved, strict=True)])
        self.num_steps = state["num_steps"]
