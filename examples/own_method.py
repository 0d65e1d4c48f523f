"""Bring a method of your own: weights stay close to those after the last task."""

from copy import deepcopy
from dataclasses import dataclass

import hcl
from hcl.config.methods import MethodConfig
from hcl.methods.finetune import Finetune


@dataclass(frozen=True)
class Config(MethodConfig):
    """Its settings: checked, searched, recorded and shown like any other."""

    LABEL = "Close"
    strength: float = 0.01


class Close(Finetune):
    """Fine-tuning with the loss strength * |weights - last weights|^2 added."""

    Config = Config

    def __init__(self, setup):
        super().__init__(setup)
        self.last = deepcopy(self.network).requires_grad_(False)  # a part: restarts keep it

    def start_task(self, task):
        super().start_task(task)
        self.last.load_state_dict(self.network.state_dict())

    def losses(self, x, y):
        pairs = zip(self.network.parameters(), self.last.parameters(), strict=True)
        moved = sum((a - b).square().sum() for a, b in pairs)
        return {**super().losses(x, y), "regularizer": self.config.strength * moved}


if __name__ == "__main__":
    trial = {"method/name": "own_method:Close", "benchmark/name": "split_digits"}
    print("accuracy", hcl.run(trial | {"train/epochs": 20}).metrics["test/task/average_accuracy"])
