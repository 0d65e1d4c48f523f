"""Bring a network of your own: any nn.Module; hypernetworks generate its weights too."""

from torch import nn

import hcl


def small_cnn(config, input_shape, num_outputs):
    """Make a network for (B, *input_shape), here grey pixels, with num_outputs outputs."""
    channels, side = config.hidden_sizes[0], int(input_shape[0] ** 0.5)
    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        nn.Conv2d(1, channels, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(channels * ((side - 1) // 2) ** 2, num_outputs),
    )


small_cnn.SETTINGS = {"hidden_sizes": (12,)}  # the settings of `target` that it has

if __name__ == "__main__":
    settings = {
        "benchmark": {"name": "split_digits", "num_tasks": 3},
        "target": {"network": "own_network:small_cnn"},
        "method": {"name": "hnet", "beta": 0.01, "chunk_size": 100, "chunk_embedding_size": 8},
        "train": {"iterations": 60, "batch_size": 16, "lr": 0.005},
    }
    result = hcl.run(settings)
    print("accuracy", result.metrics["test/task/average_accuracy"])
    print(result.learner.module(2))  # the third task's network, of plain torch
