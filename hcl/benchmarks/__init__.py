"""Benchmarks: data set + split + order. A new one is one function and one line of BENCHMARKS."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from hcl.storage.files import resolve_root

# Heavy imports stay inside functions: configs import hcl.benchmarks.limits without torch.
if TYPE_CHECKING:
    import torch

    from hcl.benchmarks.arrays import Benchmark
    from hcl.benchmarks.cifar import DataSet
    from hcl.benchmarks.files import RawArrays
    from hcl.config import BenchmarkConfig

Builder: TypeAlias = "Callable[[BenchmarkConfig, Path | None], Benchmark]"


def permuted_mnist(config: BenchmarkConfig, data_root: Path | None = None) -> Benchmark:
    """MNIST, all ten digits per task, each task with its own pixel order."""
    from hcl.benchmarks import sequences

    return sequences.permuted(config, *_mnist(resolve_root(data_root)))


def split_mnist(config: BenchmarkConfig, data_root: Path | None = None) -> Benchmark:
    """MNIST, a few digits per task."""
    from hcl.benchmarks import sequences

    return sequences.split(config, *_mnist(resolve_root(data_root)))


def permuted_digits(config: BenchmarkConfig, data_root: Path | None = None) -> Benchmark:
    """scikit-learn's 8×8 digits, permuted; needs no data root."""
    from hcl.benchmarks import sequences

    return sequences.permuted(config, *_digits())


def split_digits(config: BenchmarkConfig, data_root: Path | None = None) -> Benchmark:
    """scikit-learn's 8×8 digits, a few digits per task; needs no data root."""
    from hcl.benchmarks import sequences

    return sequences.split(config, *_digits())


def toy_regression(config: BenchmarkConfig, data_root: Path | None = None) -> Benchmark:
    """Three polynomials, one per task (von Oswald et al., 2020); needs no data root."""
    from hcl.benchmarks import regression

    return regression.polynomials(config)


def split_cifar10(config: BenchmarkConfig, data_root: Path | None = None) -> Benchmark:
    """CIFAR-10, a few classes per task."""
    from hcl.benchmarks import cifar, sequences

    return sequences.split(config, *_cifar(resolve_root(data_root), cifar.CIFAR10, 10))


def split_cifar100(config: BenchmarkConfig, data_root: Path | None = None) -> Benchmark:
    """CIFAR-100, a few classes per task."""
    from hcl.benchmarks import cifar, sequences

    needed = config.num_tasks * config.classes_per_task
    return sequences.split(config, *_cifar(resolve_root(data_root), cifar.CIFAR100, needed))


def cifar_6(config: BenchmarkConfig, data_root: Path | None = None) -> Benchmark:
    """CIFAR-10, then the first 50 classes of CIFAR-100 in tens (von Oswald et al., 2020)."""
    from hcl.benchmarks import cifar, sequences

    root, later = resolve_root(data_root), config.num_tasks - 1
    parts = [(*_cifar(root, cifar.CIFAR10, 10), 1)]
    if later:
        parts.append((*_cifar(root, cifar.CIFAR100, 10 * later), later))
    return sequences.chained(config, parts)


BENCHMARKS: dict[str, Builder] = {
    "permuted_mnist": permuted_mnist,
    "split_mnist": split_mnist,
    "permuted_digits": permuted_digits,
    "split_digits": split_digits,
    "toy_regression": toy_regression,
    "cifar_6": cifar_6,
    "split_cifar10": split_cifar10,
    "split_cifar100": split_cifar100,
}


def load(
    config: BenchmarkConfig,
    data_root: Path | str | None = None,
    device: torch.device | str = "cpu",
) -> Benchmark:
    """Build the benchmark that `config` names, on `device`.

    Args:
        config: name, size and split.
        data_root: folder with the raw data; None = env HCL_DATA, else ~/.cache/hcl/data.
        device: where the tensors of all tasks go.

    Raises:
        ConfigError: the benchmark cannot be what `config` asks for.
        DataError: its data are missing or damaged.
    """
    from hcl.config import ConfigError
    from hcl.config.benchmark import check

    errors = check(config)
    if errors:
        raise ConfigError(errors)
    root = None if data_root is None else Path(data_root)
    return BENCHMARKS[config.name](config, root).to(device)


# Several trials in one process read and hash the raw data once.
@lru_cache(maxsize=2)
def _mnist(root: Path) -> tuple[RawArrays, str]:
    from hcl.benchmarks import files, mnist

    arrays = mnist.load(root)
    return arrays, files.digest(arrays)


@lru_cache(maxsize=2)
def _cifar(root: Path, data_set: DataSet, num_classes: int) -> tuple[RawArrays, str]:
    from hcl.benchmarks import cifar, files

    arrays = cifar.load(root, data_set, num_classes)
    return arrays, files.digest(arrays)


@lru_cache(maxsize=1)
def _digits() -> tuple[RawArrays, str]:
    from hcl.benchmarks import digits, files

    arrays = digits.load()
    return arrays, files.digest(arrays)
