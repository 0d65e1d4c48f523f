"""Colour images of noise, where real ones are not needed."""

import numpy as np


def tiny_cifar(num_classes: int) -> dict[str, np.ndarray]:
    """Make images of noise in CIFAR's shape: of each class four to train on and two to test."""
    generator = np.random.RandomState(num_classes)
    arrays = {}
    for split, count in (("train", 4 * num_classes), ("test", 2 * num_classes)):
        arrays[f"x_{split}"] = generator.randint(0, 256, (count, 32, 32, 3)).astype(np.uint8)
        arrays[f"y_{split}"] = (np.arange(count) % num_classes).astype(np.uint8)
    return arrays
