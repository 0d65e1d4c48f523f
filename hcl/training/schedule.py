"""Number of steps and learning-rate schedule of one task."""

import math
from bisect import bisect_right
from dataclasses import dataclass

from hcl.config.train import TrainConfig


def num_steps(train: TrainConfig, num_samples: int) -> int:
    """Count the training steps of a task with so many samples."""
    if not train.epochs:
        return train.iterations
    return max(1, round(train.epochs * epoch_length(train, num_samples)))


def epoch_length(train: TrainConfig, num_samples: int) -> int:
    """Count the whole batches in a task's data; an incomplete last one is left out."""
    return num_samples // min(train.batch_size, num_samples)


@dataclass
class Plateau:
    """Memory of a task's validation scores: whether they still rise, and what to do about it."""

    best: float = -math.inf
    waited: int = 0  # epochs since then
    factor: float = 1.0  # of the learning rate

    def observe(self, score: float, train: TrainConfig) -> None:
        """Remember an epoch's score (higher is better); lower the rate after a long wait."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > train.plateau_patience:
            self.factor *= train.plateau_factor
            self.waited = 0


def learning_rate(train: TrainConfig, done: float, plateau: Plateau) -> float:
    """Give the learning rate of the next step.

    Args:
        train: the schedule.
        done: part of the task's steps already taken, 0 to 1.
        plateau: the validation scores so far.
    """
    passed = bisect_right(train.lr_steps, done)
    rate = train.lr * (train.lr_factors[passed - 1] if passed else 1.0)
    return max(rate * plateau.factor, min(rate, train.plateau_min_lr))
