"""Synaptic intelligence."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hcl.benchmarks.arrays import TaskSplits
from hcl.config.methods import SiConfig
from hcl.methods.base import Setup
from hcl.methods.consolidation import quadratic
from hcl.methods.finetune import Finetune
from hcl.networks.consolidating_step import ConsolidatingStep
from hcl.networks.state import num_bytes, to_device


class SI(Finetune):
    """Synaptic intelligence (Zenke et al., 2017), eq. 4-5, in van de Ven & Tolias' variant.

    Loss: task + c sum_i importance_i (theta_i - anchor_i)^2, where anchor are the parameters after
    the last task. Over the steps of a task path_integral_i sums -gradient_i * movement_i; at its
    end importance_i grows by path_integral_i / (movement in the whole task ^2 + damping).

    As in their code, the path integral uses the gradient of the *total* loss, penalty included,
    and the parameters' real movement (Adam's step); importances are not clipped at zero; one Adam
    serves all tasks.
    """

    config: SiConfig

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.path_integral: list[Tensor] = []
        self.importance: list[Tensor] = []
        self.anchor: list[Tensor] = []

    def _values(self) -> list[Tensor]:
        return [p.detach() for p in self.network.parameters()]

    def start_task(self, task: TaskSplits) -> None:
        super().start_task(task)
        self.path_integral = [torch.zeros_like(p) for p in self._values()]
        if not self.anchor:
            self.anchor = [p.clone() for p in self._values()]
            self.importance = [torch.zeros_like(p) for p in self._values()]

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x, y)
        if self._is_pulled():
            params = self.network.parameters()
            losses["regularizer"] = quadratic(params, self.importance, self.anchor, self.config.c)
        return losses

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if self.fast_step is not None:
            return self._fast_train_step(self.fast_step, x, y)
        values = self._values()
        before = [p.clone() for p in values]
        losses = super().train_step(x, y)
        grads = [p.grad for p in self.network.parameters() if p.grad is not None]
        torch._foreach_sub_(before, values)
        torch._foreach_addcmul_(self.path_integral, grads, before)
        return losses

    def _fast_train_step(self, step: ConsolidatingStep, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x, y)
        if self._is_pulled():
            c, path = self.config.c, self.path_integral
            losses["regularizer"] = step.take(
                losses["task"], c, self.importance, self.anchor, path
            )
        else:
            step.take(losses["task"], path=self.path_integral)
        return {name: loss.detach() for name, loss in losses.items()}

    def _is_pulled(self) -> bool:
        return self.task_id > 0 and self.config.c > 0

    def end_task(self, task: TaskSplits) -> None:
        for i, now in enumerate(self._values()):
            moved = now - self.anchor[i]
            self.importance[i] += self.path_integral[i] / (moved.square() + self.config.damping)
            self.anchor[i] = now.clone()

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        return 3 * num_bytes(self.network.parameters())

    def get_extra_state(self) -> dict[str, Any]:
        return {
            **super().get_extra_state(),
            "path_integral": self.path_integral,
            "importance": self.importance,
            "anchor": self.anchor,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        for name in ("path_integral", "importance", "anchor"):
            setattr(self, name, to_device(state[name], self.device))
