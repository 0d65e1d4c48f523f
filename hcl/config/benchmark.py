"""Settings of a task sequence, and what is known of each benchmark without its data."""

from dataclasses import dataclass
from typing import Any, Literal

from hcl.config.schema import Group, setting, suggest

MAX_PADDING = 32  # beyond this the zeros outnumber MNIST's pixels ten to one


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
    "toy_regression": BenchmarkInfo("curves", (), 3, 1, most_tasks=3, is_regression=True),
    "cifar_6": BenchmarkInfo(
        "split", ("cifar10", "cifar100"), 6, 10, most_tasks=6, has_images=True
    ),
    "split_cifar10": BenchmarkInfo("split", ("cifar10",), 5, 2, num_classes=10, has_images=True),
    "split_cifar100": BenchmarkInfo(
        "split", ("cifar100",), 10, 10, num_classes=100, has_images=True
    ),
}


@dataclass(frozen=True)
class BenchmarkConfig:
    """Settings of a task sequence; their defaults depend on the benchmark's name."""

    name: str = "split_mnist"  # data sets and sequence of tasks
    num_tasks: int = setting(5, ge=1)  # tasks in the sequence
    classes_per_task: int = setting(2, ge=1)  # classes of each task; 1 in a regression
    padding: int = setting(0, ge=0)  # zero pixels added on each side
    # Part of each task's training data that is kept for validation; 0 = the paper's protocol.
    val_fraction: float = setting(0.0, ge=0, lt=1)
    seed: int = setting(42, ge=0)  # for permutations and validation split, the same in all trials
    # Which classes each task has: the data set's order, a shuffled one, or a list of classes, of
    # which every task takes the next `classes_per_task`.
    class_order: tuple[int, ...] | Literal["fixed", "shuffled"] = setting(
        "fixed", ge=0, added_later=True
    )
    # Seed of the shuffled classes or of the permutations: a number, or the trial's own, so that
    # every seed has other tasks (van de Ven & Tolias); None = `seed`.
    order_seed: int | Literal["trial"] | None = setting(None, ge=0, added_later=True)
    # Networks see the channels of images less a mean, over a standard deviation: ImageNet's, or
    # those of all tasks' training images ("dataset").
    normalise: Literal["none", "imagenet", "dataset"] = setting("none", added_later=True)
    # Permute the first task's pixels too (van de Ven & Tolias), or leave them as they are.
    first_task_permuted: bool = setting(False, added_later=True)

    @property
    def info(self) -> BenchmarkInfo:
        """The benchmark's description, known without its data."""
        return BENCHMARKS[self.name]

    def choose_order_seed(self, trial_seed: int) -> int:
        """Return the seed that class orders and permutations are drawn from, in one trial."""
        if self.order_seed == "trial":
            return trial_seed
        return self.seed if self.order_seed is None else self.order_seed

    def check(self) -> list[str]:
        """Every limit of the benchmark that these settings break, one sentence each."""
        if self.name not in BENCHMARKS:
            return [
                f"benchmark/name: unknown benchmark {self.name!r}{suggest(self.name, BENCHMARKS)}"
            ]
        fixed = self.info.num_classes is None
        errors = self._check_fixed_classes() if fixed else self._check_shared_classes()
        errors += self._check_order()
        if self.normalise != "none" and not self.info.has_images:
            errors.append(
                f"benchmark/normalise: {self.name} has no images with channels but got"
                f" {self.normalise}; leave it out"
            )
        most = self.info.most_tasks
        if most is not None and self.num_tasks > most:
            errors.append(
                f"benchmark/num_tasks: {self.name} has {most} tasks but got {self.num_tasks};"
                f" set it to {most} or less"
            )
        if self.info.is_regression and self.padding:
            errors.append(
                f"benchmark/padding: {self.name} has no images to pad but got {self.padding};"
                " leave it out"
            )
        elif self.padding > MAX_PADDING:
            errors.append(
                f"benchmark/padding: must be at most {MAX_PADDING} pixels but got {self.padding}"
            )
        return errors

    def _check_order(self) -> list[str]:
        """Refuse an order of what the benchmark does not order, and a seed that draws nothing."""
        name, is_permuted = self.name, self.info.sequence == "permuted"
        errors = [] if self.class_order == "fixed" else self._check_class_order()
        if self.order_seed is not None and self.class_order != "shuffled" and not is_permuted:
            errors.append(
                f"benchmark/order_seed: draws nothing in {name} but got {self.order_seed}; leave"
                " it out or set benchmark/class_order to shuffled"
            )
        if self.first_task_permuted and not is_permuted:
            errors.append(
                f"benchmark/first_task_permuted: {name} permutes no pixels but got true; leave it"
                " out"
            )
        return errors

    def _check_class_order(self) -> list[str]:
        """Refuse an order where tasks do not share out one data set, and a list that cannot be."""
        order = self.class_order
        if self.info.num_classes is None:
            return [
                f"benchmark/class_order: the classes of a task of {self.name} cannot be chosen but"
                f" got {order if isinstance(order, str) else list(order)}; leave it out"
            ]
        needed = self.num_tasks * self.classes_per_task
        if isinstance(order, str):
            return []
        if len(set(order)) != needed or len(order) != needed:
            return [
                f"benchmark/class_order: must list {needed} different classes, for"
                f" {self.num_tasks} tasks of {self.classes_per_task}, but got {list(order)}"
            ]
        if max(order) >= self.info.num_classes:
            return [
                f"benchmark/class_order: {self.name} has the classes 0 to"
                f" {self.info.num_classes - 1} but got {max(order)}"
            ]
        return []

    def _check_fixed_classes(self) -> list[str]:
        """Refuse any other number of classes than every task of the benchmark has."""
        fixed = self.info.classes_per_task
        if self.classes_per_task == fixed:
            return []
        has = f"{fixed} output" if self.info.is_regression else f"{fixed} classes"
        return [
            f"benchmark/classes_per_task: every task of {self.name} has {has} but got"
            f" {self.classes_per_task}; leave it out or set it to {fixed}"
        ]

    def _check_shared_classes(self) -> list[str]:
        """Refuse tasks of one class, and more classes than the data set has."""
        there = self.info.num_classes or 0
        if self.classes_per_task < 2:
            return [f"benchmark/classes_per_task: must be >= 2 but got {self.classes_per_task}"]
        if self.classes_per_task > there:
            return [
                f"benchmark/classes_per_task: {self.name} has {there} classes but got"
                f" {self.classes_per_task}; set it to {there} or less"
            ]
        needed = self.num_tasks * self.classes_per_task
        if needed > there:
            return [
                f"benchmark/num_tasks: {self.name} has {there} classes but {self.num_tasks}"
                f" tasks of {self.classes_per_task} classes need {needed}; set it to"
                f" {there // self.classes_per_task} or less, or use fewer classes per task"
            ]
        return []


GROUP = Group(
    choices={
        name: (BenchmarkConfig, {"name": name, **info.defaults})
        for name, info in BENCHMARKS.items()
    },
    default=BenchmarkConfig.name,
    selector="name",
    noun="benchmark",
)
