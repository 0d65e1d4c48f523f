"""HNET+TIR: a hypernetwork classifier, and a classifier of tasks that picks the embedding."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.benchmarks.arrays import TaskSplits
from hcl.config import ConfigError
from hcl.config.methods import HnetTirConfig
from hcl.methods.base import EXTRA, Setup
from hcl.methods.hnet import Hnet
from hcl.networks.layers import xavier_
from hcl.networks.optim import make_adam, set_rate, take_step
from hcl.replay import HnetVae


class HnetTir(Hnet):
    """HNET+TIR (von Oswald et al., 2020): the task is inferred by a network trained with replay.

    The task network is the target network with one output per task. From the second task on it
    learns to tell the current task's inputs from replayed ones: hard targets, half of the loss
    each, a new Adam per task, as in the authors' code.

    The classifier is HNET's. Where a trial of HNET has shared its own after this task
    (hcl.storage.shared_classifier), that one is taken at the task's end instead of being trained.
    """

    config: HnetTirConfig
    not_learned = ("task_optimizer",)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.replay_model = HnetVae(setup.config, setup.layout, setup.input_shape)
        self.task_network = setup.build_untrained(setup.layout.num_tasks)
        xavier_(self.task_network)
        self.takes_classifier = False  # another trial has trained it for the current task

    def start_task(self, task: TaskSplits) -> None:
        shared = self.setup.shared
        self.takes_classifier = shared is not None and shared.has(task.task_id)
        super().start_task(task)
        self.replay_model.start_task(task.task_id)
        self._make_optimizer()

    def start_classifier(self) -> None:
        if not self.takes_classifier:
            super().start_classifier()
            return
        # Nothing is trained, so no regularizer is built and nothing compiled: as in a first task.
        self.task_hypernet.start_task(0)

    def end_task(self, task: TaskSplits) -> None:
        if not self.takes_classifier:
            return
        if self.setup.shared is None:
            raise ConfigError(
                "this trial was begun with a shared classifier (Runtime.classifiers); name the"
                " same folder to go on, or remove the checkpoints to start again"
            )
        self.load_classifier_state(self.setup.shared.take(task.task_id))

    def _make_optimizer(self) -> None:
        self.task_optimizer = make_adam(self.task_network.parameters(), self.setup.config.train)

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        losses = {} if self.takes_classifier else super().train_step(x, y)
        if self.task_id > 0:
            losses["task_inference"] = self._train_task_network(x)
        if self.num_learned < self.layout.num_tasks:
            losses |= self.replay_model.train_step(x)
        return losses

    def _train_task_network(self, x: Tensor) -> Tensor:
        replayed, owners = self.replay_model.replay(len(x))
        assert owners is not None
        here = torch.full((len(x),), self.task_id, device=x.device)
        if next(self.task_network.buffers(), None) is None:
            real, fake = self._task_logits(torch.cat([x, replayed])).tensor_split([len(x)])
        else:  # batch norm has the statistics of each
            real, fake = self._task_logits(x), self._task_logits(replayed)
        share, smoothing = self.config.current_share, self.setup.config.train.label_smoothing
        loss = share * F.cross_entropy(real, here, label_smoothing=smoothing)
        loss = loss + (1 - share) * F.cross_entropy(fake, owners)
        return take_step(self.task_optimizer, loss)

    def _task_logits(self, x: Tensor) -> Tensor:
        """Score the tasks seen so far: (B, num_learned)."""
        return self.task_network(x)[:, : self.num_learned]

    def infer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        task_ids = self._task_logits(x).argmax(dim=1)
        return task_ids, self.networks.answers(x, task_ids, self.num_learned)

    def set_learning_rate(self, rate: float) -> None:
        super().set_learning_rate(rate)
        set_rate(self.task_optimizer, rate)
        self.replay_model.set_learning_rate(rate)

    def samples(self, num_samples: int) -> Tensor | None:
        return self.replay_model.grid(num_samples)

    def num_stored(self) -> int:
        """Count the classifier's and the decoder's hypernetworks, and the task network."""
        task_network = sum(p.numel() for p in self.task_network.parameters())
        return super().num_stored() + task_network + self.replay_model.num_stored()

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        return self.replay_model.kept_bytes(len(past_samples))

    def learned_state(self) -> dict[str, Any]:
        state = super().learned_state()
        state[EXTRA]["replay_model"] = self.replay_model.learned_state()
        return state

    def get_extra_state(self) -> dict[str, Any]:
        state = {
            **super().get_extra_state(),
            "replay_model": self.replay_model.training_state(),
            "takes_classifier": self.takes_classifier,
        }
        if self.task_id >= 0:
            state["task_optimizer"] = self.task_optimizer.state_dict()
        return state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.replay_model.load_training_state(state["replay_model"])
        self.takes_classifier = state["takes_classifier"]
        if self.task_id >= 0:
            self._make_optimizer()
        if "task_optimizer" in state:
            self.task_optimizer.load_state_dict(state["task_optimizer"])
