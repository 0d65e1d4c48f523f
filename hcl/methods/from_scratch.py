"""A separate network for every task."""

from typing import Any

from torch import Tensor, nn

from hcl.benchmarks.arrays import TaskSplits
from hcl.config import ConfigError
from hcl.methods.base import Method, Prediction, Setup
from hcl.networks.optim import make_adam, set_rate, take_step


class FromScratch(Method):
    """Separate networks: no transfer and no forgetting; forward transfer is measured from it.

    Every task has a new Adam. The task must be given, so only the task scenario is possible.
    """

    not_learned = ("optimizer",)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.networks = nn.ModuleList(setup.build_network() for _ in range(setup.layout.num_tasks))

    def start_task(self, task: TaskSplits) -> None:
        super().start_task(task)
        self._make_optimizer()

    def _make_optimizer(self) -> None:
        network = self.networks[self.task_id]
        self.optimizer = make_adam(network.parameters(), self.setup.config.train)

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        logits = self.networks[self.task_id](x)
        loss = self.layout.cross_entropy(logits, y, self.task_id)
        return {"task": take_step(self.optimizer, loss)}

    def predict(self, x: Tensor, task_id: int | None) -> Prediction:
        assert task_id is not None, "the configuration allows the task scenario alone"
        return Prediction(self.networks[task_id](x))

    def network_weights(self, task_id: int | None) -> dict[str, Tensor]:
        if task_id is None:
            raise ConfigError("from_scratch has a network for every task; name the task")
        return self.networks[task_id].state_dict()

    def set_learning_rate(self, rate: float) -> None:
        set_rate(self.optimizer, rate)

    def num_trained(self) -> int:
        return sum(p.numel() for p in self.networks[-1].parameters())

    def get_extra_state(self) -> dict[str, Any]:
        state = super().get_extra_state()
        if self.task_id >= 0:
            state["optimizer"] = self.optimizer.state_dict()
        return state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        if self.task_id >= 0:
            self._make_optimizer()
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])
