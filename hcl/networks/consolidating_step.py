"""Adam's step under a quadratic penalty, in one pass over the weights."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hcl.config import TrainConfig
from hcl.kernels import one_pass

# What a step saves per weight, against torch's operations (measured at 2 M weights).
SAVED_PER_WEIGHT = 1.5e-9

Tensors = Sequence[Tensor]


class ConsolidatingStep:
    """Takes the step of SI, online EWC and MAS; compiled from hcl/kernels/one_pass.cpp.

    The penalty's gradient, Adam's moments and step, and SI's path integral each need most of
    these arrays: separate operations go over them two dozen times, and memory limits the step.

    Args:
        optimizer: its state is changed as its own step would, up to rounding.
        kernel: the compiled pass.
        seconds: time that compiling took.
    """

    def __init__(
        self, optimizer: torch.optim.Adam, kernel: one_pass.Kernel, seconds: float
    ) -> None:
        self.optimizer, self.kernel, self.compile_seconds = optimizer, kernel, seconds

    @torch.no_grad()
    def take(
        self,
        loss: Tensor,
        strength: float = 0.0,
        importance: Tensors | None = None,
        anchor: Tensors | None = None,
        path: Tensors | None = None,
    ) -> Tensor:
        """Minimise loss + strength sum_i importance_i (theta_i - anchor_i)^2 by one step.

        Args:
            loss: depends on the optimizer's parameters, theta.
            strength: of the penalty.
            importance: a tensor for each parameter; None = no penalty.
            anchor: likewise.
            path: likewise; each grows by -(total gradient) x (movement).

        Returns:
            The penalty at the parameters as they were, a scalar.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        (group,) = self.optimizer.param_groups
        penalty = 0.0
        for i, param in enumerate(group["params"]):
            if param.grad is None:
                if importance is None:
                    continue  # Adam leaves it alone too
                param.grad = torch.zeros_like(param)
            arrays = [kind[i] if kind is not None else None for kind in (anchor, importance, path)]
            penalty += self._pass(param, arrays, strength, self._numbers(group, param))
        return loss.new_tensor(strength * penalty)

    def _pass(
        self, param: Tensor, arrays: list[Tensor | None], strength: float, numbers: Tensor
    ) -> float:
        assert param.grad is not None
        grad, state = param.grad.contiguous(), self.optimizer.state[param]
        written = (state["exp_avg"], state["exp_avg_sq"], *arrays)
        assert all(array is None or array.is_contiguous() for array in written)
        pointers = [0 if array is None else array.data_ptr() for array in written]
        found: float = self.kernel(
            param.numel(), param.data_ptr(), grad.data_ptr(), *pointers, numbers.data_ptr(),
            strength, torch.get_num_threads(),
        )  # fmt: skip
        return found

    def _numbers(self, group: dict[str, float], param: Tensor) -> Tensor:
        """Count a step of the parameter, and give the kernel's numbers; see OutputLayer.step."""
        state = self.optimizer.state[param]
        if not state:  # as Adam itself begins it
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(param) for _ in range(2))
        state["step"] += 1
        (beta1, beta2), step = self.optimizer.defaults["betas"], state["step"].item()
        rate, root = group["lr"] / (1 - beta1**step), (1 - beta2**step) ** -0.5
        return torch.tensor([rate, root, 1 - beta1, beta2, 1 - beta2, group["eps"]])


def consolidating_step(
    optimizer: torch.optim.Adam, train: TrainConfig, num_tasks: int
) -> ConsolidatingStep | None:
    """Build the step; None where it saves too little, or cannot be compiled here."""
    params = optimizer.param_groups[0]["params"]
    size = sum(p.numel() for p in params)
    is_possible = all(p.device.type == "cpu" and p.dtype == torch.float32 for p in params)
    is_possible &= train.kernels == "fast" and all(p.is_contiguous() for p in params)
    if not is_possible or not one_pass.is_wanted(train, num_tasks, size, SAVED_PER_WEIGHT):
        return None
    found, seconds = one_pass.kernel("consolidating_step")
    return None if found is None else ConsolidatingStep(optimizer, found, seconds)
