"""The interface of a generative replay model."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class ReplayModel(nn.Module, ABC):
    """A model that learns to generate a task's inputs and replays those of the tasks before.

    A method calls `start_task`, then `train_step` and `replay` at will, and puts `training_state`
    into its own extra state. Parameters are the method's: the model is a part of it.
    """

    @abstractmethod
    def start_task(self, task_id: int) -> None:
        """Begin a task: during it, replay shows the model as it is now."""

    @abstractmethod
    def train_step(self, x: Tensor) -> dict[str, Tensor]:
        """Make one update on inputs (B, *input_shape) in [0, 1]; return named losses, detached."""

    @abstractmethod
    def replay(self, num_samples: int) -> tuple[Tensor, Tensor | None]:
        """Generate inputs of past tasks with the model as it was when the current task started.

        Returns:
            (about num_samples, *input_shape) in [0, 1], and the task that each was generated for,
            int64; None in its place where the model does not tell tasks apart.
        """

    @abstractmethod
    def grid(self, num_samples: int) -> Tensor:
        """Generate inputs to look at with the model as it is now.

        Returns:
            (rows, num_samples, *input_shape): a row per task, or one where it tells none apart.
        """

    @abstractmethod
    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of all that learns, from the next step on."""

    @abstractmethod
    def num_stored(self) -> int:
        """Count the parameters that replay needs: of the decoder, or of what generates it."""

    @abstractmethod
    def kept_bytes(self, num_past: int) -> int:
        """Estimate the memory kept of past tasks beside the parameters; see Method.kept_bytes."""

    @abstractmethod
    def training_state(self) -> dict[str, Any]:
        """Return what a restart needs beside the parameters."""

    @abstractmethod
    def learned_state(self) -> dict[str, Any]:
        """Return the part of `training_state` that matters once a task is over."""

    @abstractmethod
    def load_training_state(self, state: dict[str, Any]) -> None:
        """Put back what `training_state` or `learned_state` returned."""
