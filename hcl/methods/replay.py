"""An ordinary classifier trained on current data mixed with replayed data."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from hcl.benchmarks.arrays import TaskSplits
from hcl.methods.base import Setup
from hcl.methods.finetune import Finetune
from hcl.replay import ReplayModel
from hcl.replay.distillation import Unseen, distillation_loss, hard_loss


class Replay(Finetune):
    """Loss: w * (current data) + (1 - w) * (replay, answered by the network of a task ago).

    Subclasses say what is replayed and w. Nothing is replayed in the first task.
    """

    soft_targets = True
    unseen: Unseen = "zero_probability"  # soft targets of classes that the old network never saw
    new_adam_per_task = False

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.replay_model: ReplayModel | None = self.make_replay_model()

    def make_replay_model(self) -> ReplayModel | None:
        """The generator that replay comes from, if there is one."""
        return None

    @abstractmethod
    def replay_inputs(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Inputs to rehearse beside the batch `x`, and int64 task ids where known."""

    def current_share(self) -> float:
        """w, the weight of current data: 1/t as in van de Ven & Tolias; t counts this task."""
        return 1 / self.num_learned

    def start_task(self, task: TaskSplits) -> None:
        self.previous: dict[str, Tensor] = {}
        if task.task_id > 0:  # before the statistics of batch norm begin anew
            self.previous = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        super().start_task(task)
        if self.new_adam_per_task:
            self.optimizer = self.make_optimizer()
        if self.replay_model is not None:
            self.replay_model.start_task(task.task_id)

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x, y)
        if self.task_id == 0:
            return losses
        share = self.current_share()
        return {
            "task": share * losses["task"],
            "replay": (1 - share) * self.replay_loss(*self.replay_inputs(x)),
        }

    def replay_loss(self, x: Tensor, owners: Tensor | None) -> Tensor:
        """How far the network is from the answers of the one before this task."""
        with torch.no_grad():
            self.network.eval()  # its answers, without dropout and with its own statistics
            old = functional_call(self.network, self.previous, (x,), strict=True)
            self.network.train()
        views = self.layout.replay_views(self.network(x), old, self.task_id, owners)
        return (
            distillation_loss(*views, unseen=self.unseen)
            if self.soft_targets
            else hard_loss(*views)
        )

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().train_step(x, y)
        # Nothing replays the last task, so nothing learns to.
        if self.replay_model is not None and self.num_learned < self.layout.num_tasks:
            losses |= self.replay_model.train_step(x)
        return losses

    def set_learning_rate(self, rate: float) -> None:
        super().set_learning_rate(rate)
        if self.replay_model is not None:
            self.replay_model.set_learning_rate(rate)

    def samples(self, num_samples: int) -> Tensor | None:
        return None if self.replay_model is None else self.replay_model.grid(num_samples)

    def get_extra_state(self) -> dict[str, Any]:
        state = super().get_extra_state()
        if self.task_id >= 0:
            state["previous"] = self.previous
        if self.replay_model is not None:
            state["replay_model"] = self.replay_model.training_state()
        return state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.previous = {k: v.to(self.device) for k, v in state.get("previous", {}).items()}
        if self.replay_model is not None:
            self.replay_model.load_training_state(state["replay_model"])
