"""Settings of the optimization."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from hcl.config.schema import Group, setting


@dataclass(frozen=True)
class TrainConfig:
    """Settings of the optimization, the same for every task of the sequence."""

    iterations: int = setting(2000, ge=1)  # steps per task, unless epochs are given
    # Passes over a task's data, which may be a fraction: larger tasks have more steps; 0 = each
    # task has `iterations` steps.
    epochs: float = setting(0.0, ge=0, added_later=True)
    batch_size: int = setting(128, ge=1)  # samples per training step
    lr: float = setting(1e-3, gt=0)  # learning rate of Adam
    # Parts of a task's steps (0 to 1) from which on the learning rate is lr times the factor at
    # the same place in lr_factors.
    lr_steps: tuple[float, ...] = setting((), gt=0, lt=1, added_later=True)
    lr_factors: tuple[float, ...] = setting((), gt=0, added_later=True)  # one for each of lr_steps
    # The learning rate is multiplied by plateau_factor whenever the task's validation score has
    # not risen for more than plateau_patience epochs, but not below plateau_min_lr; 0 = never.
    plateau_patience: int = setting(0, ge=0, added_later=True)
    # What the learning rate is multiplied by where a score no longer rises.
    plateau_factor: float = setting(0.1**0.5, gt=0, lt=1, added_later=True)
    plateau_min_lr: float = setting(5e-7, ge=0, added_later=True)  # lowest learning rate of these
    adam_beta1: float = setting(0.9, ge=0, lt=1)  # decay of Adam's mean of gradients
    adam_beta2: float = setting(0.999, ge=0, lt=1)  # decay of Adam's mean of squared gradients
    # Part of the target that is spread evenly over all classes that compete (Szegedy et al.,
    # 2016), in losses against true labels; replayed and distilled targets stay as they are. The
    # authors' 0.95 for the true one of C classes is 0.05 C / (C - 1).
    label_smoothing: float = setting(0.0, ge=0, lt=1, added_later=True)
    # What the target network computes in, in training and evaluation: bfloat16 rounds the factors
    # of its products and convolutions. Weights, the hypernetwork, its optimizer and the
    # regularizer stay float32.
    precision: Literal["float32", "bfloat16"] = setting("float32", added_later=True)
    # Random crops and flips of training images (hcl/benchmarks/augment.py).
    augment: bool = setting(False, added_later=True)
    # Steps between two evaluations within a task, on the validation data of all tasks learned so
    # far and of the current one: series of accuracy and loss that show how deep and how long a
    # past task falls. No result changes; 0 = never.
    eval_every: int = setting(0, ge=0, added_later=True)
    # After each task, score the later ones too, whose outputs all tasks share in the domain
    # scenario: gives zero_shot_transfer, FWT of Lopez-Paz & Ranzato (2017). No result changes.
    zero_shot: bool = setting(False, added_later=True)
    # Inputs scored at once; 0 = 10,000, or fewer where that is more than 8 million values.
    eval_batch_size: int = setting(0, ge=0)
    # Compile parts of a hypernetwork's step: where it saves more time than it takes, or always.
    # Changes the result within float tolerance, as another machine does.
    compile: Literal["auto", "on", "off"] = "auto"
    # Parts of a hypernetwork's step: the fast ones, or the clear ones of hcl/hypernets, which
    # compute the same. Changes the result within float tolerance.
    kernels: Literal["fast", "plain"] = "fast"
    num_replicas: int = setting(1, ge=1)  # seeds trained at a time, as a batch

    @property
    def is_scheduled(self) -> bool:
        """True if the learning rate changes within a task."""
        return bool(self.lr_steps) or self.plateau_patience > 0

    def check(self) -> list[str]:
        """List problems that concern several settings at once, one sentence each."""
        errors = []
        if len(self.lr_steps) != len(self.lr_factors):
            errors.append(
                f"train/lr_factors: must have one factor for each of the {len(self.lr_steps)}"
                f" train/lr_steps but has {len(self.lr_factors)}"
            )
        if any(a >= b for a, b in pairwise(self.lr_steps)):
            errors.append(f"train/lr_steps: must rise but got {list(self.lr_steps)}")
        return errors


GROUP = Group({"": (TrainConfig, {})})
# They decide how fast a result comes, not what it is: no digest covers them.
SPEED_ONLY = ("train/eval_batch_size", "train/compile", "train/kernels", "train/num_replicas")
