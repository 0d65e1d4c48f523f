"""Facts about each benchmark that need none of its data."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BenchmarkInfo:
    """A benchmark: a sequence of tasks made from data sets, its defaults and its limits.

    Attributes:
        sequence: how tasks are made, a key of `hcl.benchmarks.SEQUENCES`.
        sources: the data sets, keys of `hcl.benchmarks.SOURCES`; none where the tasks are drawn.
        num_tasks: default of the setting.
        classes_per_task: default of the setting; a regression's number of outputs.
        padding: default of the setting.
        num_classes: classes of the data set, shared out among the tasks; None where every task
            has the same `classes_per_task`, which then cannot be changed.
        most_tasks: the longest sequence there is; None where `num_classes` or nothing limits it.
        has_images: whether inputs are images (channels, height, width); else they are vectors.
        is_regression: whether targets are numbers, scored by their squared error.
    """

    sequence: str
    sources: tuple[str, ...]
    num_tasks: int
    classes_per_task: int
    padding: int = 0
    num_classes: int | None = None
    most_tasks: int | None = None
    has_images: bool = False
    is_regression: bool = False

    @property
    def defaults(self) -> dict[str, Any]:
        """The benchmark's own settings where a file does not give them."""
        names = ("num_tasks", "classes_per_task", "padding")
        return {name: getattr(self, name) for name in names}


# Defaults as in the authors' code (github chrhenning/hypercl, mnist/train_args_default.py).
BENCHMARKS: dict[str, BenchmarkInfo] = {
    "split_mnist": BenchmarkInfo("split", ("mnist",), 5, 2, num_classes=10),
    "permuted_mnist": BenchmarkInfo("permuted", ("mnist",), 10, 10, padding=2),
    "split_digits": BenchmarkInfo("split", ("digits",), 5, 2, num_classes=10),
    "permuted_digits": BenchmarkInfo("permuted", ("digits",), 5, 10),
    "rotated_mnist": BenchmarkInfo("rotated", ("mnist",), 5, 10),
    "rotated_digits": BenchmarkInfo("rotated", ("digits",), 5, 10),
    "toy_regression": BenchmarkInfo("curves", (), 3, 1, most_tasks=3, is_regression=True),
    "cifar_6": BenchmarkInfo(
        "split", ("cifar10", "cifar100"), 6, 10, most_tasks=6, has_images=True
    ),
    "split_cifar10": BenchmarkInfo("split", ("cifar10",), 5, 2, num_classes=10, has_images=True),
    "split_cifar100": BenchmarkInfo(
        "split", ("cifar100",), 10, 10, num_classes=100, has_images=True
    ),
}
