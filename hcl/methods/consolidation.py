"""Quadratic penalties that hold parameters where they were: the base of EWC and MAS."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hcl import seeding
from hcl.benchmarks.arrays import TaskSplits
from hcl.methods.base import Setup
from hcl.methods.finetune import Finetune
from hcl.networks.state import num_bytes, to_device

Named = dict[str, Tensor]  # by parameter name
SAMPLES_AT_ONCE = 500  # bounds memory, not results


def quadratic(
    params: Iterable[Tensor],
    importance: Iterable[Tensor],
    anchor: Iterable[Tensor],
    strength: float,
) -> Tensor:
    """Compute strength sum_i importance_i (params_i - anchor_i)^2: a scalar, differentiable once.

    Args:
        params: to differentiate by.
        importance: tensors of the same shapes.
        anchor: tensors of the same shapes.
        strength: multiplies the sum.
    """
    params = list(params)
    value: Tensor = _Quadratic.apply(strength, len(params), *params, *importance, *anchor)
    return value


class _Quadratic(torch.autograd.Function):
    """Quadratic penalty in five passes over memory, where autograd takes a dozen."""

    @staticmethod
    def forward(ctx: Any, strength: float, count: int, *tensors: Tensor) -> Tensor:
        params, importance, anchor = tensors[:count], tensors[count : 2 * count], tensors[-count:]
        moved = torch._foreach_sub(params, anchor)
        pull = torch._foreach_mul(importance, moved)
        ctx.strength = strength
        ctx.save_for_backward(*pull)
        terms = [torch.dot(p.flatten(), m.flatten()) for p, m in zip(pull, moved, strict=True)]
        return strength * torch.stack(terms).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pull = list(ctx.saved_tensors)
        grads = torch._foreach_mul(pull, 2 * ctx.strength * grad)
        return (None, None, *grads, *[None] * (2 * len(grads)))


class Consolidation(Finetune):
    """Training with penalties from importances that are estimated when a task is over.

    Loss: task + strength sum_k sum_i importance_ki (theta_i - anchor_ki)^2, where anchor_k are the
    parameters after task k. One Adam for all tasks.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.importances: list[Named] = []
        self.anchors: list[Named] = []
        self.draws = seeding.generator(setup.config.seed, "fisher")

    @abstractmethod
    def strength(self) -> float:
        """Return what the penalty is multiplied with."""

    @abstractmethod
    def num_samples(self) -> int:
        """Return how many of a task's training samples to look at; 0 = all."""

    @abstractmethod
    def estimate(self, task: TaskSplits) -> Named:
        """Estimate importances on the finished task's training data, in evaluation mode."""

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x, y)
        if self.importances and self.strength() > 0:
            losses["regularizer"] = self.penalty()
        return losses

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        # In this order: nothing is compiled that is not used.
        if len(self.importances) != 1 or self.strength() <= 0 or self.fast_step is None:
            return super().train_step(x, y)
        (importance,), (anchor,) = self.importances, self.anchors
        names = [name for name, _ in self.network.named_parameters()]
        held = ([kind[name] for name in names] for kind in (importance, anchor))
        losses = super().losses(x, y)
        losses["regularizer"] = self.fast_step.take(losses["task"], self.strength(), *held)
        return {name: loss.detach() for name, loss in losses.items()}

    def penalty(self) -> Tensor:
        """Sum strength importance (theta - anchor)^2 over past tasks and parameters: a scalar."""
        params = dict(self.network.named_parameters())
        terms = []
        for importance, anchor in zip(self.importances, self.anchors, strict=True):
            now, then = ([named[key] for key in importance] for named in (params, anchor))
            terms.append(quadratic(now, importance.values(), then, self.strength()))
        return torch.stack(terms).sum()

    def end_task(self, task: TaskSplits) -> None:
        was_training = self.training
        self.eval()
        importance = self.estimate(task)
        self.train(was_training)
        self.consolidate(importance, self.current_values())

    def consolidate(self, importance: Named, anchor: Named) -> None:
        """Hold on to the finished task's parameters (`anchor`), as strongly as `importance`."""
        self.importances.append(importance)
        self.anchors.append(anchor)

    def current_values(self) -> Named:
        """Copy the parameters."""
        return {name: p.detach().clone() for name, p in self.network.named_parameters()}

    def active_outputs(self, task_id: int) -> slice:
        """Return the outputs that were active in training the task just learned."""
        is_class = self.layout.scenario == "class"
        return self.layout.seen(self.num_learned) if is_class else self.layout.head(task_id)

    def sample_batches(self, task: TaskSplits) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw training samples in random order, with the indices of their output units."""
        order = torch.randperm(len(task.train), generator=self.draws)
        if self.num_samples():
            order = order[: self.num_samples()]
        for index in order.to(self.device).split(SAMPLES_AT_ONCE):
            x, y = task.train.batch(index)
            yield x, self.layout.targets(y, task.task_id)

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        return len(past_samples) * self.bytes_of_a_penalty()

    def bytes_of_a_penalty(self) -> int:
        """Return the memory of one task's importances and anchor."""
        return 2 * num_bytes(self.network.parameters())

    def get_extra_state(self) -> dict[str, Any]:
        return {
            **super().get_extra_state(),
            "fishers": self.importances,
            "anchors": self.anchors,
            "draws": self.draws.get_state(),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.draws.set_state(state["draws"])
        self.importances = to_device(state["fishers"], self.device)
        self.anchors = to_device(state["anchors"], self.device)
