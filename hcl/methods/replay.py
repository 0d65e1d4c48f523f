"""An ordinary classifier trained on current data mixed with replayed data."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from hcl.benchmarks.arrays import TaskSplits
from hcl.methods.base import EXTRA, Setup
from hcl.methods.finetune import Finetune
from hcl.networks.state import num_bytes, to_device
from hcl.replay import ReplayModel
from hcl.replay.distillation import Unseen, distillation_loss, hard_loss


class Replay(Finetune):
    """Rehearsal of past tasks: the base of methods that replay.

    Loss: w (current data) + (1 - w) (replayed inputs, with the answers of the network as it was
    when the task started). Subclasses say what is replayed, and w. The first task has no replay.

    Attributes:
        soft_targets: distil the old network's outputs at T = 2; else take its most likely class.
        unseen: soft targets of classes that the old network never saw.
        new_adam_per_task: the authors of HNET+R begin with new moments, van de Ven & Tolias do
            not. The optimizer is then `not_learned`, too.
    """

    soft_targets = True
    unseen: Unseen = "zero_probability"
    new_adam_per_task = False
    not_learned: tuple[str, ...] = ("previous",)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.replay_model: ReplayModel | None = self.make_replay_model()

    def make_replay_model(self) -> ReplayModel | None:
        """Make the model that replay comes from; None if there is none."""
        return None

    def replay_inputs(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return inputs to rehearse beside the batch `x`: about as many, from the replay model.

        Returns:
            (about B, *input_shape), and the task that each was generated for, int64, where known.
        """
        assert self.replay_model is not None
        return self.replay_model.replay(len(x))

    def current_share(self) -> float:
        """Return w, the weight of current data: 1/t in task t (van de Ven & Tolias, 2018)."""
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
        """Compare the network's answers with those of the network before this task: a scalar."""
        with torch.no_grad():
            # The old network answers as in a test: no dropout, its own running statistics.
            self.network.eval()
            old = functional_call(self.network, self.previous, (x,), strict=True)
            self.network.train()
        views = self.layout.replay_views(self.network(x), old, self.task_id, owners)
        if not self.soft_targets:
            return hard_loss(*views)
        return distillation_loss(*views, unseen=self.unseen, classes=self.config.distillation)

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = super().train_step(x, y)
        # No later task replays the last one, so the replay model need not learn it.
        if self.replay_model is not None and self.num_learned < self.layout.num_tasks:
            losses |= self.replay_model.train_step(x)
        return losses

    def set_learning_rate(self, rate: float) -> None:
        super().set_learning_rate(rate)
        if self.replay_model is not None:
            self.replay_model.set_learning_rate(rate)

    def samples(self, num_samples: int) -> Tensor | None:
        return None if self.replay_model is None else self.replay_model.grid(num_samples)

    def num_stored(self) -> int:
        """Count the classifier and what replays past inputs beside it."""
        model = self.replay_model
        return super().num_stored() + (0 if model is None else model.num_stored())

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        previous = num_bytes(self.network.state_dict().values()) if past_samples else 0
        model = self.replay_model
        return previous + (0 if model is None else model.kept_bytes(len(past_samples)))

    def learned_state(self) -> dict[str, Any]:
        state = super().learned_state()
        if self.replay_model is not None:
            state[EXTRA]["replay_model"] = self.replay_model.learned_state()
        return state

    def get_extra_state(self) -> dict[str, Any]:
        state = super().get_extra_state()
        if self.task_id >= 0:
            state["previous"] = self.previous
        if self.replay_model is not None:
            state["replay_model"] = self.replay_model.training_state()
        return state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.previous = to_device(state.get("previous", {}), self.device)
        if self.replay_model is not None:
            self.replay_model.load_training_state(state["replay_model"])
