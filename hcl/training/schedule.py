"""How fast a task is learned at a time: steps, epochs, and the learning rate's way down."""

import math
from bisect import bisect_right
from dataclasses import dataclass

from hcl.config.train import TrainConfig


def num_steps(train: TrainConfig, num_samples: int) -> int:
    """Training steps of a task with so many samples."""
    if not train.epochs:
        return train.iterations
    return max(1, round(train.epochs * epoch_length(train, num_samples)))


def epoch_length(train: TrainConfig, num_samples: int) -> int:
    """Whole batches in a task's data; an incomplete last one is left out."""
    return num_samples // min(train.batch_size, num_samples)


@dataclass
class Plateau:
    """Whether a task's validation score still rises. State of one task's training."""

    best: float = -math.inf
    waited: int = 0  # epochs since then
    factor: float = 1.0  # of the learning rate

    def observe(self, score: float, train: TrainConfig) -> None:
        """Take up the score after an epoch; higher is better."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > train.plateau_patience:
            self.factor *= train.plateau_factor
            self.waited = 0


def learning_rate(train: TrainConfig, progress: float, plateau: Plateau) -> float:
    """Of the next step.

    Args:
        train: the schedule.
        progress: steps already taken, as a part of the task's.
        plateau: as it is now.
    """
    passed = bisect_right(train.lr_steps, progress)
    rate = train.lr * (train.lr_factors[passed - 1] if passed else 1.0)
    return max(rate * plateau.factor, min(rate, train.plateau_min_lr))
