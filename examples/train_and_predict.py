"""Train a hypernetwork on three tasks, ask it, keep it, and take a task's network out of it."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import hcl

SETTINGS = {
    "benchmark": {"name": "split_digits", "num_tasks": 3},  # 0 or 1, 2 or 3, 4 or 5
    "method": {"name": "hnet", "beta": 0.01, "chunk_size": 100, "chunk_embedding_size": 8},
    "target": {"hidden_sizes": [100]},
    "train": {"iterations": 40, "batch_size": 16, "lr": 0.005},
}


def main() -> None:
    """Train, ask, keep, take out."""
    result = hcl.run(SETTINGS)
    print(f"accuracy: {result.metrics['test/task/average_accuracy']:.3f}")

    x, y = hcl.load_benchmark(SETTINGS).tasks[1].test.batch(torch.arange(70))
    given = result.learner.predict(x, task=1)
    print("right:", int((given.labels == y + 2).sum()), "of", len(x))
    unsure = result.learner.predict(x)  # of the network of lowest entropy, the task not given
    print("mean entropy:", f"{unsure.entropy.mean():.3f} nats")

    with TemporaryDirectory() as folder:
        result.learner.save(Path(folder) / "digits.safetensors")
        again = hcl.load(Path(folder) / "digits.safetensors")
    network = again.module(1)  # of plain torch
    assert torch.equal(network(x).argmax(dim=1) + 2, given.labels)


if __name__ == "__main__":
    main()
