"""A user's own files, for the tests that name them by import paths."""

from pathlib import Path

METHOD = '''
from dataclasses import dataclass
from typing import ClassVar, Literal

from hcl.config.methods import MethodConfig
from hcl.config.schema import setting
from hcl.methods.base import Method
from hcl.methods.finetune import Finetune
from parts.shrink import factor


@dataclass(frozen=True)
class Config(MethodConfig):
    """Fine-tuning whose weights shrink a little after each task."""

    LABEL: ClassVar[str] = "Shrinking"

    strength: float = setting(0.1, ge=0)
    when: Literal["always", "never"] = "always"


class Shrinking(Finetune):
    """Fine-tuning, then smaller weights."""

    Config = Config

    def end_task(self, task):
        super().end_task(task)
        if self.config.when == "always":
            for p in self.network.parameters():
                p.data.mul_(factor(self.config.strength))
'''
PARTS = {
    "parts/__init__.py": "",
    "parts/shrink.py": """
from .numbers import ONE


def factor(strength):
    return ONE - strength
""",
    "parts/numbers.py": "ONE = 1.0\n",
}
NETWORK = """
from torch import nn


def small(config, input_shape, num_outputs):
    (size,) = input_shape
    return nn.Sequential(nn.Linear(size, *config.hidden_sizes), nn.Tanh(),
                         nn.Linear(*config.hidden_sizes, num_outputs))


small.SETTINGS = {"hidden_sizes": (5,)}


def normed(config, input_shape, num_outputs):
    return nn.Sequential(nn.BatchNorm1d(*input_shape), nn.Linear(*input_shape, num_outputs))


text = "no network"


def number(config, input_shape, num_outputs):
    return 3
"""
SPACE = """
trial:
  benchmark: {name: split_digits, num_tasks: 2, val_fraction: 0.2}
  target: {network: "nets:small"}
  method: {name: "mine:Shrinking"}
  train: {iterations: 3, batch_size: 8}
search:
  method/strength: {type: float, low: 0.01, high: 0.5}
  method/when: {type: choice, values: [always, never]}
sweep: {num_trials: 2, max_concurrent_trials: 2}
"""


def write(folder: Path) -> Path:
    """Write the files of METHOD, NETWORK and SPACE into a folder."""
    files = {"mine.py": METHOD, "nets.py": NETWORK, "space.yaml": SPACE, **PARTS}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
