"""Settings of a task sequence, torch-free as all configuration."""

from dataclasses import dataclass
from typing import Any

from hcl.config.schema import setting, suggest


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


NUM_CLASSES = {"split_cifar100": 100}  # all others have 10


MAX_PADDING = 32  # beyond this the zeros outnumber MNIST's pixels ten to one


def check(config: BenchmarkConfig) -> list[str]:
    """Every limit of its benchmark that `config` breaks, one sentence each; empty = fine."""
    name = config.name
    if name not in BENCHMARK_DEFAULTS:
        return [f"benchmark/name: unknown benchmark {name!r}{suggest(name, BENCHMARK_DEFAULTS)}"]
    if name in REGRESSION:
        return _check_regression(config)
    errors = []
    num_classes = NUM_CLASSES.get(name, 10)
    if config.classes_per_task < 2:
        errors.append(
            f"benchmark/classes_per_task: must be >= 2 but got {config.classes_per_task}"
        )
    elif name.startswith("split_"):
        asked = config.num_tasks * config.classes_per_task
        if config.classes_per_task > num_classes:
            errors.append(
                f"benchmark/classes_per_task: {name} has {num_classes} classes but got"
                f" {config.classes_per_task}; set it to {num_classes} or less"
            )
        elif asked > num_classes:
            errors.append(
                f"benchmark/num_tasks: {name} has {num_classes} classes but {config.num_tasks}"
                f" tasks of {config.classes_per_task} classes need {asked}; set it to"
                f" {num_classes // config.classes_per_task} or less, or use fewer classes per task"
            )
    elif config.classes_per_task != num_classes:
        errors.append(
            f"benchmark/classes_per_task: every task of {name} has {num_classes} classes but got"
            f" {config.classes_per_task}; leave it out or set it to {num_classes}"
        )
    if name == "cifar_6" and config.num_tasks > 6:
        errors.append(
            f"benchmark/num_tasks: cifar_6 has 6 tasks but got {config.num_tasks}; set it to 6 or"
            " less, or use split_cifar100"
        )
    if config.padding > MAX_PADDING:
        errors.append(
            f"benchmark/padding: must be at most {MAX_PADDING} pixels but got {config.padding}"
        )
    return errors


def _check_regression(config: BenchmarkConfig) -> list[str]:
    """Its three curves are all there is to choose from."""
    limits = {"num_tasks": (1, 3), "classes_per_task": (1, 1), "padding": (0, 0)}
    return [
        f"benchmark/{key}: {config.name} takes {low if low == high else f'{low} to {high}'}"
        f" but got {getattr(config, key)}"
        for key, (low, high) in limits.items()
        if not low <= getattr(config, key) <= high
    ]
