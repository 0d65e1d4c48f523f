"""One network, task after task, nothing protected: the base of most other methods."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hcl.benchmarks.arrays import TaskSplits
from hcl.config.target import has_batch_norm
from hcl.methods.base import Method, Prediction, Setup
from hcl.networks.consolidating_step import ConsolidatingStep, consolidating_step
from hcl.networks.optim import make_adam, set_rate, take_step
from hcl.networks.running_statistics import RunningStatistics


class Finetune(Method):
    """Plain sequential training ("None" in van de Ven & Tolias, 2019): the lower reference.

    One Adam for the whole sequence: its moments are kept from task to task, as in their code.
    Subclasses usually extend `losses` alone.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.network = setup.build_network()
        target = setup.config.target
        per_task = has_batch_norm(target.network) and target.batch_norm == "per_task"
        self.statistics = RunningStatistics(self.network, per_task)
        self.optimizer = self.make_optimizer()

    def make_optimizer(self) -> torch.optim.Adam:
        """Make a new Adam for the network."""
        return make_adam(self.network.parameters(), self.setup.config.train)

    def start_task(self, task: TaskSplits) -> None:
        super().start_task(task)
        self.statistics.start_task(task.task_id)

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Compute the named loss terms whose sum is minimised; subclasses add theirs.

        The task's term is a cross-entropy over the outputs active in the scenario
        (OutputLayout.cross_entropy): in the class scenario all heads seen so far compete.
        """
        return {"task": self.layout.cross_entropy(self.network(x), y, self.task_id)}

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = self.losses(x, y)
        take_step(self.optimizer, torch.stack(list(losses.values())).sum())
        return {name: loss.detach() for name, loss in losses.items()}

    def predict(self, x: Tensor, task_id: int | None) -> Prediction:
        return Prediction(self.statistics.run(x, task_id))

    def network_weights(self, task_id: int | None) -> dict[str, Tensor]:
        return self.network.state_dict() | self.statistics.of(task_id)

    @cached_property
    def fast_step(self) -> ConsolidatingStep | None:
        """A step that subclasses with a quadratic penalty take in one pass, where it can be."""
        return consolidating_step(self.optimizer, self.setup.config.train, self.layout.num_tasks)

    @property
    def compile_seconds(self) -> float:
        """Seconds that compiling `fast_step` took."""
        step = self.__dict__.get("fast_step")
        return 0.0 if step is None else step.compile_seconds

    def set_learning_rate(self, rate: float) -> None:
        set_rate(self.optimizer, rate)

    def num_stored(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def get_extra_state(self) -> dict[str, Any]:
        return {
            **super().get_extra_state(),
            "optimizer": self.optimizer.state_dict(),
            "statistics": self.statistics.state(),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])
        self.statistics.load_state(state.get("statistics", {}), self.device)
