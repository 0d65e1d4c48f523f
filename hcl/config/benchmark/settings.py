"""Settings of a task sequence."""

from dataclasses import dataclass
from typing import Any, Literal

from hcl.config.benchmark.info import BENCHMARKS, BenchmarkInfo
from hcl.config.plugins import is_import_path
from hcl.config.schema import setting, suggest

MAX_PADDING = 32  # beyond this the zeros outnumber MNIST's pixels ten to one
KNOWN = {source for info in BENCHMARKS.values() for source in info.sources}
# Why the number of classes cannot be chosen, for each sequence that takes all of them.
WHY_ALL = {
    "permuted": "every permuted task has all classes of the data",
    "rotated": "every rotated task has all classes of the data",
    "chained": "every task has all classes of its data set",
    "given": "every task has the classes of its samples",
}


@dataclass(frozen=True)
class BenchmarkConfig:
    """Settings of a task sequence; their defaults depend on the benchmark's name."""

    name: str = "split_mnist"  # data sets and sequence of tasks
    num_tasks: int = setting(5, ge=1)  # tasks in the sequence
    # Classes of each task, or a list with every task's; 0 = all that the data have (own data that
    # are not split); 1 in a regression.
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
    # How tasks are made, in place of a name: split, permuted, rotated, chained (each data set is a
    # task), given (by the data's own task ids), or an import path.
    sequence: str = setting("", added_later=True)
    # What they are made of: a data set such as mnist, a path ending in .npz, torchvision:NAME, or
    # an import path; a list of them for chained.
    data: str | tuple[str, ...] = setting("", added_later=True)
    # Degrees that the images of each rotated task are turned by, counter-clockwise; [] = evenly
    # spaced, from 0 to less than 180.
    angles: tuple[float, ...] = setting((), added_later=True)
    # What own data have as y: classes, or numbers, which are scored by their squared error.
    targets: Literal["classes", "numbers"] = setting("classes", added_later=True)

    @property
    def info(self) -> BenchmarkInfo:
        """The benchmark's description, known without its data."""
        known, is_regression = BENCHMARKS.get(self.name), self.targets == "numbers"
        return known or BenchmarkInfo(
            self.sequence, self.sources, 5, 2, is_regression=is_regression
        )

    @property
    def is_own(self) -> bool:
        """True if its data, or how tasks are made of them, are a user's own."""
        return bool(self.sequence)

    @property
    def sources(self) -> tuple[str, ...]:
        """Own data sets, in order."""
        return (self.data,) if isinstance(self.data, str) else self.data

    @property
    def may_bring_validation(self) -> bool:
        """True if the data may have a validation part of their own; they are not read here."""
        is_own_sequence = is_import_path(self.sequence)
        return self.is_own and (is_own_sequence or len(self._published) < len(self.sources))

    @property
    def has_local_data(self) -> bool:
        """True if all its data are a user's files or functions; hcl itself downloads nothing."""
        return any(self.sources) and not self._published

    @property
    def _published(self) -> list[str]:
        """Those of the sources that are others' data sets, which have classes and two parts."""
        return [s for s in self.sources if s in KNOWN or s.startswith("torchvision:")]

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
        """List the limits of the benchmark that these settings break, one sentence each."""
        if self.is_own:
            return self._check_own() + self._check_padding()
        if self.name not in BENCHMARKS:
            return [
                f"benchmark/name: unknown benchmark {self.name!r}{suggest(self.name, BENCHMARKS)}"
            ]
        fixed = self.info.num_classes is None
        errors = self._check_fixed_classes() if fixed else self._check_shared_classes()
        errors += self._check_order() + self._check_angles()
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
        if self.targets != "classes":
            errors.append(
                f"benchmark/targets: are for data of your own, not {self.name}, but got"
                f" {self.targets}; leave it out"
            )
        return errors + self._check_padding()

    def _check_padding(self) -> list[str]:
        if self.name in BENCHMARKS and self.info.is_regression and self.padding:
            return [
                f"benchmark/padding: {self.name} has no images to pad but got {self.padding};"
                " leave it out"
            ]
        if self.padding > MAX_PADDING:
            return [
                f"benchmark/padding: must be at most {MAX_PADDING} pixels but got {self.padding}"
            ]
        return []

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

    def _check_angles(self) -> list[str]:
        """Refuse angles of what is not rotated, and a list that is not one angle for each task."""
        angles = list(self.angles)
        if angles and self.info.sequence != "rotated":
            return [
                f"benchmark/angles: {self.name} rotates nothing but got {angles}; leave it out"
            ]
        if angles and len(angles) != self.num_tasks:
            return [
                f"benchmark/angles: must list one angle for each of the {self.num_tasks} tasks but"
                f" got {angles}"
            ]
        return []

    def _check_class_order(self) -> list[str]:
        """Refuse an order where tasks do not share out one data set, and a list that cannot be."""
        order = self.class_order
        if self.is_own and self.sequence == "split":  # how many classes there are is not known yet
            return [] if isinstance(order, str) else self._check_listed(order)
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
        if is_import_path(self.sequence):
            return []  # which settings mean something is for its author to say
        errors = []
        if self.sequence == "split":
            if problems := self._check_sizes():
                return problems
            if self.targets == "numbers":
                errors.append(
                    "benchmark/sequence: split shares out classes, but benchmark/targets are"
                    " numbers; use permuted, rotated, chained or given"
                )
        elif self.classes_per_task:
            errors.append(
                f"benchmark/classes_per_task: {WHY_ALL[self.sequence]} but got"
                f" {_shown(self.classes_per_task)}; leave it out"
            )
        if self.sequence == "chained" and len(self.sources) != self.num_tasks:
            errors.append(
                f"benchmark/num_tasks: must be the number of data sets, {len(self.sources)}, but"
                f" got {self.num_tasks}; leave it out"
            )
        if self.targets == "numbers" and self._published:
            errors.append(
                f"benchmark/targets: {self._published[0]} has classes but got numbers; leave it"
                " out"
            )
        return errors + self._check_order() + self._check_angles()

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
