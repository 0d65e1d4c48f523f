"""Settings of a task sequence, torch-free as all configuration."""

from dataclasses import dataclass
from typing import Any

from hcl.schema import setting


@dataclass(frozen=True)
class BenchmarkConfig:
    """Data, split and order of a task sequence. Defaults depend on the benchmark's name."""

    name: str = "split_mnist"
    num_tasks: int = setting(5, ge=1)
    classes_per_task: int = setting(2, ge=1)  # a task of regression has 1 output
    padding: int = setting(0, ge=0)  # zero pixels added on each side
    val_fraction: float = setting(0.0, ge=0, lt=1)  # of each task's training data; 0 = the paper's
    seed: int = setting(42, ge=0)  # permutations and validation split; the same for all trials


# What a benchmark's own settings are when a file does not say (PAPER.md, section 3).
BENCHMARK_DEFAULTS: dict[str, dict[str, Any]] = {
    "split_mnist": {"num_tasks": 5, "classes_per_task": 2, "padding": 0},
    "permuted_mnist": {"num_tasks": 10, "classes_per_task": 10, "padding": 2},
    "split_digits": {"num_tasks": 5, "classes_per_task": 2, "padding": 0},
    "permuted_digits": {"num_tasks": 5, "classes_per_task": 10, "padding": 0},
    "toy_regression": {"num_tasks": 3, "classes_per_task": 1, "padding": 0},
    "cifar_6": {"num_tasks": 6, "classes_per_task": 10, "padding": 0},
    "split_cifar10": {"num_tasks": 5, "classes_per_task": 2, "padding": 0},
    "split_cifar100": {"num_tasks": 10, "classes_per_task": 10, "padding": 0},
}
REGRESSION = ("toy_regression",)  # benchmarks that are scored by their squared error
# Benchmarks whose inputs are images, (channels, height, width); the others' are vectors.
IMAGES = ("cifar_6", "split_cifar10", "split_cifar100")
