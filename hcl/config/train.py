"""Settings of the optimization, torch-free as all configuration."""

from dataclasses import dataclass
from typing import Literal

from hcl.config.schema import setting


@dataclass(frozen=True)
class TrainConfig:
    """Optimization, the same for every task of the sequence."""

    iterations: int = setting(2000, ge=1)  # steps per task, unless epochs are given
    # Passes over a task's data, perhaps a part of one: larger tasks have more steps; 0 =
    # iterations count.
    epochs: float = setting(0.0, ge=0)
    batch_size: int = setting(128, ge=1)
    lr: float = setting(1e-3, gt=0)  # Adam
    # From each of these parts of a task's training on, lr times the factor in the same place.
    lr_steps: tuple[float, ...] = setting((), gt=0, lt=1)
    lr_factors: tuple[float, ...] = setting((), gt=0)
    # lr times plateau_factor whenever the task's validation score has not risen for more than
    # plateau_patience epochs, never below plateau_min_lr; 0 = never.
    plateau_patience: int = setting(0, ge=0)
    plateau_factor: float = setting(0.1**0.5, gt=0, lt=1)
    plateau_min_lr: float = setting(5e-7, ge=0)
    adam_beta1: float = setting(0.9, ge=0, lt=1)
    adam_beta2: float = setting(0.999, ge=0, lt=1)
    augment: bool = False  # random crops and flips of training images (hcl/benchmarks/augment.py)
    # Inputs scored at once, 0 = 10,000, or 8 million values; changes speed and memory only.
    eval_batch_size: int = setting(0, ge=0)
    # Compile parts of a hypernetwork's step: where it saves more time than it takes, or always.
    # Changes the result within float tolerance, as another machine does.
    compile: Literal["auto", "on", "off"] = "auto"
    num_replicas: int = setting(1, ge=1)  # seeds trained at a time, as a batch; changes speed

    @property
    def is_scheduled(self) -> bool:
        """Whether the learning rate changes within a task."""
        return bool(self.lr_steps) or self.plateau_patience > 0

    def check(self, val_fraction: float) -> list[str]:
        """Problems that concern several settings at once, a sentence each."""
        errors = []
        if len(self.lr_steps) != len(self.lr_factors):
            errors.append(
                f"train/lr_factors: must have one factor for each of the {len(self.lr_steps)}"
                f" train/lr_steps but has {len(self.lr_factors)}"
            )
        if any(a >= b for a, b in zip(self.lr_steps, self.lr_steps[1:], strict=False)):
            errors.append(f"train/lr_steps: must rise but got {list(self.lr_steps)}")
        if self.plateau_patience and val_fraction == 0:
            errors.append(
                "train/plateau_patience: watches validation data, never test data as the paper's"
                " code did; set benchmark/val_fraction above 0, e.g. to 0.1"
            )
        return errors
