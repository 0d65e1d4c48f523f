"""Bring data of your own: an .npz of arrays, cut into tasks of three classes each."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.datasets import load_digits

import hcl

TASKS = {"sequence": "split", "num_tasks": 3, "classes_per_task": 3}


def write_arrays(file: Path) -> None:
    """Write x_train, y_train, x_test, y_test: images uint8 or numbers, labels of any kind."""
    pixels, digits = load_digits(return_X_y=True)
    images = np.rot90(pixels.reshape(-1, 8, 8), axes=(1, 2))
    x = (images * (255 / 16)).astype(np.uint8)
    np.savez(file, x_train=x[400:], y_train=digits[400:], x_test=x[:400], y_test=digits[:400])


def main() -> None:
    """Train on three tasks, and name the classes of each."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rotated.npz"
        write_arrays(file)
        settings = {
            "benchmark": {**TASKS, "data": str(file)},
            "method": {"name": "si", "c": 10.0},
            "target": {"hidden_sizes": [40]},
            "train": {"iterations": 60, "batch_size": 16},
        }
        result = hcl.run(settings)
    print("accuracy", result.metrics["test/task/average_accuracy"], result.learner.tasks)


if __name__ == "__main__":
    main()
