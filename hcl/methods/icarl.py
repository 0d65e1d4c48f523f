"""Incremental classifier and representation learning."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from hcl.benchmarks.arrays import TaskSplits
from hcl.config.rehearsal import IcarlConfig
from hcl.methods.base import Prediction, Setup
from hcl.methods.rehearsal import Rehearsal
from hcl.networks.features import features
from hcl.networks.state import num_bytes, to_device


class ICaRL(Rehearsal):
    """iCaRL (Rebuffi et al., 2017): the class of the nearest mean of exemplars.

    An input's features are the input of the output layer, of length 1. Its class is that whose
    exemplars' mean, of length 1 too, is nearest. Exemplars are chosen by herding; every class seen
    has an equal part of the budget.

    The network learns on the current task's samples and all exemplars alike: each sample of a
    batch is an exemplar with their share of both. Loss: binary cross-entropies, summed over the
    classes seen so far, with targets 0 and 1 for the task's classes, and for older ones the
    probabilities of the network before the task (algorithm 3). As in van de Ven & Tolias (2019)
    one Adam serves all tasks. During a task, whose classes have no exemplars yet, the outputs
    answer.
    """

    config: IcarlConfig
    not_learned = ("previous", "share_kept")

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.previous: dict[str, Tensor] = {}
        self.share_kept = 0.0  # exemplars among all samples of the current task's training
        self.means: Tensor | None = None  # (classes seen, features), made when first needed

    def start_task(self, task: TaskSplits) -> None:
        if task.task_id > 0:
            self.previous = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        super().start_task(task)
        self.share_kept = len(self.buffer) / (len(self.buffer) + len(task.train))

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if len(self.buffer):
            is_kept = torch.rand(len(x), generator=self.buffer.draws) < self.share_kept
            rows = is_kept.nonzero()[:, 0].to(x.device)
            kept, places = self.replay(len(rows), x.dtype)
            x = x.index_copy(0, rows, kept)
            y = y.index_copy(0, rows, self.buffer.kept_y[places])
        seen, new = self.layout.seen(self.num_learned), self.layout.head(self.task_id)
        targets = F.one_hot(y, seen.stop).to(x.dtype)
        smoothing = self.layout.label_smoothing
        targets = (1 - smoothing) * targets + smoothing / seen.stop
        if self.previous:
            with torch.no_grad():
                self.network.eval()
                old = functional_call(self.network, self.previous, (x,), strict=True)
                self.network.train()
            targets[:, : new.start] = (old[:, : new.start] / self.config.temperature).sigmoid()
        logits = self.network(x)[:, seen]
        each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return {"task": each.sum(dim=1).mean()}

    def policy(self) -> str:
        return "herding"

    def train(self, mode: bool = True) -> "ICaRL":
        super().train(mode)
        self.means = None  # features change once training goes on
        return self

    def predict(self, x: Tensor, task_id: int | None) -> Prediction:
        seen = self.layout.seen(self.num_learned)
        if len(self.buffer.counts) < seen.stop:
            return super().predict(x, task_id)
        if self.means is None:
            kept = self._features(self.buffer.inputs(slice(None)))
            means = [part.mean(dim=0) for part in kept.split(self.buffer.counts)]
            self.means = F.normalize(torch.stack(means), dim=1)
        logits = x.new_full((len(x), self.layout.num_outputs), -torch.inf)
        logits[:, seen] = -torch.cdist(self._features(x), self.means)
        return Prediction(logits)

    def _features(self, x: Tensor) -> Tensor:
        return features(self.network, self.layout.num_outputs, x)

    def kept_bytes(self, past_samples: Sequence[int]) -> int:
        previous = num_bytes(self.network.state_dict().values()) if past_samples else 0
        return previous + super().kept_bytes(past_samples)

    def get_extra_state(self) -> dict[str, Any]:
        state = super().get_extra_state()
        if self.task_id >= 0:
            state |= {"previous": self.previous, "share_kept": self.share_kept}
        return state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.means = None
        self.previous = to_device(state.get("previous", {}), self.device)
        self.share_kept = state.get("share_kept", 0.0)
