"""The interface of a continual-learning method: four verbs."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hcl.benchmarks.arrays import TaskSplits
from hcl.config import TrialConfig
from hcl.networks import build_network, given_weights
from hcl.scenario import OutputLayout
from hcl.storage.shared_classifier import SharedClassifier


@dataclass(frozen=True)
class Setup:
    """What a method is built from."""

    config: TrialConfig
    layout: OutputLayout
    input_shape: tuple[int, ...]
    shared: SharedClassifier | None = None  # what another trial trains too
    weights: dict[str, Tensor] | None = None  # that networks start from

    def build_network(self) -> nn.Module:
        """A fresh target network with all outputs of the layout."""
        num_outputs = self.layout.num_outputs
        network = build_network(self.config.target, self.input_shape, num_outputs)
        if self.weights is not None:
            given_weights.put_into(network, self.weights, num_outputs)
        return network


class Prediction(NamedTuple):
    """logits: (B, num_outputs); task_ids: int64 (B,) where the method inferred them, else None."""

    logits: Tensor
    task_ids: Tensor | None = None


class Method(nn.Module, ABC):
    """A continual-learning method: owns its networks and optimizers, sees tasks one by one.

    The learner calls, for each task: `start_task`, `train_step` once per batch, `end_task`, then
    `predict` on every task learned so far, in evaluation mode.
    All that must survive a restart is in `state_dict()`: parameters, buffers, and what
    `get_extra_state` returns (optimizers, per-task tensors; safe to load with weights_only).
    """

    # True: batches are drawn from all tasks learned so far and the current one.
    trains_on_all_tasks = False

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup = setup
        self.layout = setup.layout
        self.config: Any = setup.config.method
        self.task_id = -1  # the task being learned, or the last one learned

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.parameters()).device

    @property
    def num_learned(self) -> int:
        """Tasks learned so far, the current one included."""
        return self.task_id + 1

    def start_task(self, task: TaskSplits) -> None:
        """Get ready for a task: new optimizer, regularizer targets."""
        self.task_id = task.task_id

    @abstractmethod
    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update on a batch.

        Args:
            x: (B, *input_shape) in [0, 1].
            y: int64 (B,), index of the right output unit (OutputLayout.targets).

        Returns:
            Named loss terms, detached, still on the device (no synchronisation per step).
        """

    def end_task(self, task: TaskSplits) -> None:
        """Called once a task's training is over: importances, replay models."""

    @abstractmethod
    def predict(self, x: Tensor, task_id: int | None) -> Prediction:
        """Logits for a batch; `task_id` None: not given, to be inferred if need be."""

    @abstractmethod
    def set_learning_rate(self, rate: float) -> None:
        """Of all that learns in the current task, from the next step on."""

    def samples(self, num_samples: int) -> Tensor | None:
        """Generated inputs for the eye, (rows, num_samples, *input_shape) in [0, 1]; None where
        the method generates none."""
        return None

    def num_stored(self) -> int:
        """Numbers the method keeps to make predictions, embeddings included."""
        return sum(p.numel() for p in self.parameters())

    def num_target_weights(self) -> int:
        """Weights of one target network: the reference of the compression ratio."""
        with torch.device("meta"):
            return sum(p.numel() for p in self.setup.build_network().parameters())

    def get_extra_state(self) -> dict[str, Any]:
        return {"task_id": self.task_id}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.task_id = state["task_id"]
