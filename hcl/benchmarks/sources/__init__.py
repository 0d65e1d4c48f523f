"""Data sets by name: how each is read, and how much of it a benchmark needs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from hcl.benchmarks import cifar, digits, files, mnist
from hcl.benchmarks.files import RawArrays
from hcl.benchmarks.sources import own_data
from hcl.config import BenchmarkConfig
from hcl.storage.files import DataError


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        num_classes: classes that it has.
        read: from a data root, its first so many classes, or more of them; downloads what is
            missing.
        prepared: files in a data root that hold it whole or in part, each with the number of its
            first classes, smallest first; none where the data come with a package.
    """

    num_classes: int
    read: Callable[[Path, int], RawArrays]
    prepared: tuple[tuple[str, int], ...] = ()


SOURCES: dict[str, Source] = {
    "mnist": Source(10, lambda root, _: mnist.load(root), ((mnist.NPZ, 10),)),
    "digits": Source(10, lambda root, _: digits.load()),
    "cifar10": Source(
        10,
        lambda root, needed: cifar.load(root, cifar.CIFAR10, needed),
        ((cifar.CIFAR10.npz, 10),),
    ),
    "cifar100": Source(
        100,
        lambda root, needed: cifar.load(root, cifar.CIFAR100, needed),
        ((cifar.CIFAR100.first_npz, cifar.FIRST_CLASSES), (cifar.CIFAR100.npz, 100)),
    ),
}


class Part(NamedTuple):
    """Part of a data set that a benchmark uses.

    Attributes:
        arrays: the data set, or a part that has all classes needed.
        digest: of the arrays.
        num_classes: the first so many are for the benchmark; a class order chooses among them.
            Where targets are numbers, how many there are in each.
        class_names: what a user's data call their classes; empty where that is 0, 1, 2, ...
    """

    arrays: RawArrays
    digest: str
    num_classes: int
    class_names: tuple[str | int, ...] = ()


def classes_needed(config: BenchmarkConfig) -> dict[str, int]:
    """Give the data sets of a benchmark, in order, each with how many of its classes are needed.

    A sequence goes through a data set as long as it has enough classes for one more task, and then
    on to the next data set. A class order may take any class of the one data set that it is for.
    """
    if config.class_order != "fixed":
        (name,) = config.info.sources
        chosen = config.class_order
        return {name: SOURCES[name].num_classes if isinstance(chosen, str) else max(chosen) + 1}
    left, size, needed = sum(config.sizes), config.classes_per_task, {}
    for name in config.info.sources:
        there = SOURCES[name].num_classes
        taken = min(left, there - there % size if isinstance(size, int) else there)
        if taken:
            needed[name] = taken
        left -= taken
    return needed


def read_parts(config: BenchmarkConfig, root: Path) -> list[Part]:
    """Read what a benchmark takes from each of its data sets.

    Raises:
        DataError: data are damaged, or missing and cannot be downloaded.
    """
    if config.is_own:
        return [_own_part(name, config, root) for name in config.sources]
    return [Part(*_read(name, root, n), n) for name, n in classes_needed(config).items()]


def _own_part(name: str, config: BenchmarkConfig, root: Path) -> Part:
    """Read one of a user's data sets; a split takes the classes that its tasks need."""
    if name in SOURCES:
        there = SOURCES[name].num_classes
        return Part(*_read(name, root, there), there)
    arrays, digest, there, names = own_data.read(name, root, config.targets)
    if config.sequence != "split":
        return Part(arrays, digest, there, names)
    needed, order = sum(config.sizes), config.class_order
    if needed > there or (isinstance(order, tuple) and max(order) >= there):
        what = f"classes 0 to {there - 1}" if isinstance(order, tuple) else f"{there} classes"
        raise DataError(
            f"benchmark/data: {name} has {what} but {config.num_tasks} tasks need"
            f" {needed if isinstance(order, str) else max(order)}; use fewer tasks or classes"
        )
    return Part(arrays, digest, needed if order == "fixed" else there, names)


@lru_cache(maxsize=2)  # several trials in one process read and hash the raw data once
def _read(name: str, root: Path, num_classes: int) -> tuple[RawArrays, str]:
    arrays = SOURCES[name].read(root, num_classes)
    return arrays, files.digest(arrays)
