"""A method of one's own: weights are drawn back to those after the last task."""

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from hcl.config.methods import MethodConfig
from hcl.config.schema import setting
from hcl.methods.finetune import Finetune


@dataclass(frozen=True)
class Config(MethodConfig):
    """Settings of the method: they are checked, searched, recorded and shown in tables."""

    LABEL: ClassVar[str] = "L2"

    strength: float = setting(0.1, ge=0)  # of the penalty


class Anchored(Finetune):
    """Fine-tuning with strength * |weights - anchor|^2 added to the loss.

    The anchor is where the weights were when the last task ended (the L2 baseline of Kirkpatrick
    et al., 2017, without its Fisher information). The first task has no anchor.
    """

    Config = Config

    def __init__(self, setup):
        super().__init__(setup)
        # A part of the method: checkpoints and files of learners keep it.
        self.anchor = deepcopy(self.network).requires_grad_(False)

    def losses(self, x, y):
        """Return the parts of the loss by name; their sum is minimised."""
        found = super().losses(x, y)
        if self.task_id > 0:
            pairs = zip(self.network.parameters(), self.anchor.parameters(), strict=True)
            moved = sum((now - then).square().sum() for now, then in pairs)
            found["regularizer"] = self.config.strength * moved
        return found

    def end_task(self, task):
        """Move the anchor to where the weights are now."""
        super().end_task(task)
        self.anchor.load_state_dict(self.network.state_dict())
