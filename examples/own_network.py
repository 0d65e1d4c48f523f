"""Bring a network of your own: any nn.Module; hypernetworks generate its weights too."""

from typing import ClassVar

import torch
from torch import nn

import hcl


class Residual(nn.Module):
    """A hidden layer, and another one that is added to it: (B, pixels) -> (B, num_outputs)."""

    SETTINGS: ClassVar = {"hidden_sizes": (30,)}  # the settings of `target` that it has

    def __init__(self, config, input_shape, num_outputs):
        super().__init__()
        (size,), (hidden,) = input_shape, config.hidden_sizes
        self.first = nn.Linear(size, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, num_outputs)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last(x + torch.relu(self.second(x)))


if __name__ == "__main__":
    settings = {
        "benchmark": {"name": "split_digits", "num_tasks": 3},
        "target": {"network": "own_network:Residual"},
        "method": {"name": "hnet", "beta": 0.01, "chunk_size": 100, "chunk_embedding_size": 8},
        "train": {"iterations": 60, "batch_size": 16, "lr": 0.005},
    }
    result = hcl.run(settings)
    print("accuracy", result.metrics["test/task/average_accuracy"])
    print(result.learner.module(2))  # the third task's network, of plain torch
