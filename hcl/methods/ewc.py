"""Elastic weight consolidation, with one penalty per task or one running penalty."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from hcl import seeding
from hcl.benchmarks.arrays import TaskSplits
from hcl.config.methods import EwcConfig, OnlineEwcConfig
from hcl.methods.base import Setup
from hcl.methods.finetune import Finetune
from hcl.methods.fisher import diagonal_fisher, gaussian_fisher
from hcl.networks.state import num_bytes, to_device

Named = dict[str, Tensor]  # by parameter name
FISHER_BATCH = 500  # samples at once: bounds memory, not results


class EWC(Finetune):
    """EWC (Kirkpatrick et al., 2017), eq. 3: one quadratic term per past task.

    Loss: task + lambda/2 sum_k sum_i F_ki (theta_i - anchor_ki)^2, where anchor_k are the
    parameters after task k and F_k is the diagonal of its Fisher matrix, from per-sample gradients
    in evaluation mode. Which labels the Fisher uses is the setting `fisher_labels`; by default
    the network's own most likely one, as van de Ven & Tolias (2019). One Adam for all tasks.
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
        """Sum F (theta - anchor)^2 over past tasks and parameters: a scalar."""
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
        """Hold on to the finished task's parameters (`anchor`), as strongly as `fisher` says."""
        self.fishers.append(fisher)
        self.anchors.append(anchor)

    def current_values(self) -> Named:
        """Copy the parameters."""
        return {name: p.detach().clone() for name, p in self.network.named_parameters()}

    def estimate_fisher(self, task: TaskSplits) -> Named:
        """Estimate the diagonal Fisher matrix on the finished task's training data.

        The softmax is over the outputs that were active in training: the task's head, or in the
        class scenario all heads seen so far. A regression's likelihood is a normal distribution.
        """
        is_class = self.layout.scenario == "class"
        head = self.layout.head(task.task_id)
        active = self.layout.seen(self.num_learned) if is_class else head
        labels = self.config.fisher_labels
        was_training = self.training
        self.eval()
        batches = self._fisher_batches(task)
        if self.layout.score == "mse":
            fisher = gaussian_fisher(self.network, batches, labels)
        else:
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

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        return len(past_samples) * self._bytes_of_a_penalty()

    def _bytes_of_a_penalty(self) -> int:
        return 2 * num_bytes(self.network.parameters())  # Fisher and anchor

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
        self.fishers = to_device(state["fishers"], self.device)
        self.anchors = to_device(state["anchors"], self.device)


class OnlineEWC(EWC):
    """Online EWC (Schwarz et al., 2018), eq. 9, as van de Ven & Tolias (2019) run it.

    One running Fisher, F <- gamma F + F_task, anchored at the latest parameters. Loss:
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

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        return self._bytes_of_a_penalty() if past_samples else 0
