"""The interface of a generative replay model."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class ReplayModel(nn.Module, ABC):
    """Learns to generate a task's inputs; replays the tasks before the current one.

    A method calls `start_task`, then `train_step` and `replay` at will, and puts `training_state`
    into its own extra state.
    """

    @abstractmethod
    def start_task(self, task_id: int) -> None:
        """Freeze what replay shows during this task: the model as it is now."""

    @abstractmethod
    def train_step(self, x: Tensor) -> dict[str, Tensor]:
        """One update on inputs (B, *input_shape) in [0, 1]; named losses, detached."""

    @abstractmethod
    def replay(self, num_samples: int) -> tuple[Tensor, Tensor | None]:
        """Inputs of past tasks from the model as it was when the current task started.

        Returns:
            x (about num_samples, *input_shape) in [0, 1], and int64 task ids where known.
        """

    @abstractmethod
    def grid(self, num_samples: int) -> Tensor:
        """(rows, num_samples, *input_shape) for the eye, from the model as it is now; one row per
        task where the model tells them apart."""

    @abstractmethod
    def set_learning_rate(self, rate: float) -> None:
        """Of all that learns, from the next step on."""

    @abstractmethod
    def training_state(self) -> dict[str, Any]:
        """What a restart needs beside the parameters."""

    @abstractmethod
    def load_training_state(self, state: dict[str, Any]) -> None:
        """Put back what `training_state` returned."""
