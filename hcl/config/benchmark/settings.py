"""Settings of a task sequence."""

from dataclasses import dataclass
from typing import Any, Literal

from hcl.config.benchmark.info import BENCHMARKS, BenchmarkInfo
from hcl.config.schema import setting, suggest

MAX_PADDING = 32  # beyond this the zeros outnumber MNIST's pixels ten to one


@dataclass(frozen=True)
class BenchmarkConfig:
    """Settings of a task sequence; their defaults depend on the benchmark's name."""

    name: str = "split_mnist"  # data sets and sequence of tasks
    num_tasks: int = setting(5, ge=1)  # tasks in the sequence
    # Classes of each task, or a list with every task's; 0 = all that the data have (permuted own
    # data); 1 in a regression.
    classes_per_task: int | tuple[int, ...] = setting(2, ge=0)
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
    # How tasks are made, in place of a name: split, permuted, or an import path.
    sequence: str = setting("", added_later=True)
    # What they are made of: a data set such as mnist, a path ending in .npz, torchvision:NAME, or
    # an import path.
    data: str = setting("", added_later=True)

    @property
    def info(self) -> BenchmarkInfo:
        """The benchmark's description, known without its data."""
        return BENCHMARKS.get(self.name) or BenchmarkInfo(self.sequence, (self.data,), 5, 2)

    @property
    def is_own(self) -> bool:
        """True if its data, or how tasks are made of them, are a user's own."""
        return bool(self.sequence)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of classes of each task."""
        size = self.classes_per_task
        return (size,) * self.num_tasks if isinstance(size, int) else size

    def choose_order_seed(self, trial_seed: int) -> int:
        """Return the seed that class orders and permutations are drawn from, in one trial."""
        if self.order_seed == "trial":
            return trial_seed
        return self.seed if self.order_seed is None else self.order_seed

    def check(self) -> list[str]:
        """Every limit of the benchmark that these settings break, one sentence each."""
        if self.is_own:
            return self._check_own()
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
        if isinstance(order, str):
            return []
        if problems := self._check_listed(order):
            return problems
        if max(order) >= self.info.num_classes:
            return [
                f"benchmark/class_order: {self.name} has the classes 0 to"
                f" {self.info.num_classes - 1} but got {max(order)}"
            ]
        return []

    def _check_listed(self, order: tuple[int, ...]) -> list[str]:
        """Refuse a list that does not give every task its classes."""
        needed = sum(self.sizes)
        if len(set(order)) == len(order) == needed:
            return []
        return [
            f"benchmark/class_order: must list {needed} different classes, for"
            f" {self.num_tasks} tasks of {_shown(self.classes_per_task)}, but got {list(order)}"
        ]

    def _check_own(self) -> list[str]:
        """Refuse what no data could make right; the data themselves are checked when read."""
        errors = []
        if self.padding > MAX_PADDING:
            errors.append(
                f"benchmark/padding: must be at most {MAX_PADDING} pixels but got {self.padding}"
            )
        if self.sequence == "split":
            errors += self._check_sizes()
            if not errors and not isinstance(self.class_order, str):
                errors += self._check_listed(self.class_order)
        elif self.classes_per_task and self.sequence == "permuted":
            errors.append(
                "benchmark/classes_per_task: every permuted task has all classes of the data but"
                f" got {_shown(self.classes_per_task)}; leave it out"
            )
        return errors

    def _check_sizes(self) -> list[str]:
        """Refuse tasks of one class, and a list that is not one size for each task."""
        if len(self.sizes) != self.num_tasks:
            return [
                f"benchmark/classes_per_task: must list one number for each of the"
                f" {self.num_tasks} tasks but got {_shown(self.classes_per_task)}"
            ]
        if min(self.sizes) < 2:
            return [
                f"benchmark/classes_per_task: must be >= 2 but got {_shown(self.classes_per_task)}"
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
            f" {_shown(self.classes_per_task)}; leave it out or set it to {fixed}"
        ]

    def _check_shared_classes(self) -> list[str]:
        """Refuse tasks of one class, and more classes than the data set has."""
        if problems := self._check_sizes():
            return problems
        there, most, needed = self.info.num_classes or 0, max(self.sizes), sum(self.sizes)
        if most > there:
            return [
                f"benchmark/classes_per_task: {self.name} has {there} classes but got {most}; set"
                f" it to {there} or less"
            ]
        if needed > there:
            return [
                f"benchmark/num_tasks: {self.name} has {there} classes but {self.num_tasks}"
                f" tasks of {_shown(self.classes_per_task)} classes need {needed}; set it to"
                f" {there // most} or less, or use fewer classes per task"
            ]
        return []


def _shown(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)
