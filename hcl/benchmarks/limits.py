"""What each benchmark can be asked for. Free of data and torch, so that configs can check it."""

from hcl.config import BENCHMARK_DEFAULTS, REGRESSION, BenchmarkConfig
from hcl.schema import suggest

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
