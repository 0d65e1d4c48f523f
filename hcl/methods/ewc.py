"""Elastic weight consolidation, with one penalty per task or one running penalty."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hcl import seeding
from hcl.benchmarks.arrays import TaskSplits
from hcl.config.methods import EwcConfig, OnlineEwcConfig
from hcl.methods.base import Setup
from hcl.methods.finetune import Finetune
from hcl.methods.fisher import diagonal_fisher

Named = dict[str, Tensor]
FISHER_BATCH = 500


class EWC(Finetune):
    """EWC (Kirkpatrick et al., 2017), eq. 3: one quadratic term per past task.

    Loss: task + lambda/2 sum_k sum_i F_ki (theta_i - anchor_ki)^2.
    """

    config: EwcConfig

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.fishers: list[Named] = []
        self.anchors: list[Named] = []
        self.draws = seeding.generator(setup.config.seed, "fisher")

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x, y)
        if self.fishers and self.config.ewc_lambda > 0:
            losses["regularizer"] = self.config.ewc_lambda / 2 * self.penalty()
        return losses

    def penalty(self) -> Tensor:
        """Sum over past tasks and parameters of F (theta - anchor)^2, a scalar."""
        params = dict(self.network.named_parameters())
        terms = [
            (fisher[name] * (params[name] - anchor[name]).square()).sum()
            for fisher, anchor in zip(self.fishers, self.anchors, strict=True)
            for name in fisher
        ]
        return torch.stack(terms).sum()

    def end_task(self, task: TaskSplits) -> None:
        self.consolidate(self.estimate_fisher(task), self.current_values())

    def consolidate(self, fisher: Named, anchor: Named) -> None:
        """Take up the finished task's importances."""
        self.fishers.append(fisher)
        self.anchors.append(anchor)

    def current_values(self) -> Named:
        """A copy of the parameters."""
        return {name: p.detach().clone() for name, p in self.network.named_parameters()}

    def estimate_fisher(self, task: TaskSplits) -> Named:
        """Diagonal Fisher on the finished task's training data."""
        is_class = self.layout.scenario == "class"
        head = self.layout.head(task.task_id)
        active = self.layout.seen(self.num_learned) if is_class else head
        labels = self.config.fisher_labels
        was_training = self.training
        self.eval()
        batches = self._fisher_batches(task)
        fisher = diagonal_fisher(self.network, batches, active, labels, self.draws)
        self.train(was_training)
        return fisher

    def _fisher_batches(self, task: TaskSplits) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(task.train), generator=self.draws)
        if self.config.fisher_samples:
            order = order[: self.config.fisher_samples]
        for index in order.to(self.device).split(FISHER_BATCH):
            x, y = task.train.batch(index)
            yield x, self.layout.targets(y, task.task_id)

    def get_extra_state(self) -> dict[str, Any]:
        return {
            **super().get_extra_state(),
            "fishers": self.fishers,
            "anchors": self.anchors,
            "draws": self.draws.get_state(),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.draws.set_state(state["draws"])
        for name in ("fishers", "anchors"):
            moved = [{k: t.to(self.device) for k, t in named.items()} for named in state[name]]
            setattr(self, name, moved)


class OnlineEWC(EWC):
    """Online EWC (Schwarz et al., 2018), eq. 9, as van de Ven & Tolias (2019) run it.

    One running Fisher, F <- gamma F + F_task, anchored at the latest parameters; the loss is
    task + lambda/2 sum_i gamma F_i (theta_i - anchor_i)^2.
    """

    config: OnlineEwcConfig

    def consolidate(self, fisher: Named, anchor: Named) -> None:
        if self.fishers:
            old = self.fishers[0]
            fisher = {name: f + self.config.gamma * old[name] for name, f in fisher.items()}
        self.fishers, self.anchors = [fisher], [anchor]

    def penalty(self) -> Tensor:
        return self.config.gamma * super().penalty()
