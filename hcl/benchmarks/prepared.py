"""Data sets made ready once per node: one checked `.npz` that every trial then only reads."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hcl.benchmarks import cifar, files, mnist
from hcl.benchmarks.files import RawArrays
from hcl.config import BENCHMARK_DEFAULTS, ConfigError
from hcl.config.schema import suggest
from hcl.storage.files import DataError, check_is_folder, locked, resolve_root

DIGEST = "digest"  # key of the .npz: what `files.digest` of its arrays was when it was written


@dataclass(frozen=True)
class Source:
    """A prepared file, and how its data are read from a root, or downloaded into it."""

    file: str
    read: Callable[[Path], RawArrays]


_MNIST = (Source(mnist.NPZ, mnist.load),)
_CIFAR10 = (
    Source(cifar.CIFAR10.npz, partial(cifar.load, data_set=cifar.CIFAR10, num_classes=10)),
)
_CIFAR100 = (
    Source(cifar.CIFAR100.npz, partial(cifar.load, data_set=cifar.CIFAR100, num_classes=100)),
)
_FIRST_50 = (
    Source(cifar.CIFAR100.first_npz, partial(cifar.load, data_set=cifar.CIFAR100, num_classes=50)),
)
# Per benchmark, per data set: files that will do; the last one is what is made. Benchmarks that
# are not here bring their data with them.
SOURCES: dict[str, tuple[tuple[Source, ...], ...]] = {
    "split_mnist": (_MNIST,),
    "permuted_mnist": (_MNIST,),
    "cifar_6": (_CIFAR10, _FIRST_50 + _CIFAR100),
    "split_cifar10": (_CIFAR10,),
    "split_cifar100": (_CIFAR100,),
}


@dataclass(frozen=True)
class Prepared:
    """A data set as it is on this node."""

    path: Path
    digest: str = ""
    is_new: bool = False


def prepare(benchmark: str, data_root: Path | str | None = None) -> tuple[Prepared, ...]:
    """Write the benchmark's prepared files unless they are there; one process at a time does it.

    Args:
        benchmark: a name of BENCHMARKS.
        data_root: folder with the data; None = env HCL_DATA, else ~/.cache/hcl/data.

    Returns:
        One per data set, none for a benchmark that brings its data with it.

    Raises:
        ConfigError: no such benchmark.
        DataError: its data are damaged, or missing and cannot be downloaded.
    """
    found = _sources(benchmark, resolve_root(data_root))
    return tuple(_prepare(source, path) for source, path in found)


def _prepare(source: Source, path: Path) -> Prepared:
    if path.is_file():  # looked at first: the folder may be one that cannot be written to
        return _check(source, path)
    check_is_folder(path.parent)
    try:
        with locked(path.with_name(f".{path.name}.lock")):
            if path.is_file():
                return _check(source, path)
            arrays = source.read(path.parent)
            digest = files.digest(arrays)
            _write(path, {**arrays, DIGEST: np.array(digest)})
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}); name another folder with --data-root"
            " or HCL_DATA"
        ) from error
    return Prepared(path, digest, is_new=True)


def check(benchmark: str, data_root: Path | str | None = None) -> tuple[Prepared, ...]:
    """Read the benchmark's prepared files and compare each with the digest it was written with.

    Raises:
        ConfigError: no such benchmark.
        DataError: a file is missing, damaged, or not what it was.
    """
    found = _sources(benchmark, resolve_root(data_root))
    for _, path in found:
        if not path.is_file():
            raise DataError(
                f"{path} is missing; make it with: hcl data prepare {benchmark} --data-root"
                f" {path.parent}"
            )
    return tuple(_check(source, path) for source, path in found)


def _check(source: Source, path: Path) -> Prepared:
    arrays = source.read(path.parent)
    digest, expected = files.digest(arrays), _recorded_digest(path)
    if expected not in (None, digest):
        raise DataError(
            f"{path} was changed since it was prepared (digest {digest[:16]}, was"
            f" {str(expected)[:16]}); delete it and prepare it again"
        )
    return Prepared(path, digest)


def _sources(benchmark: str, root: Path) -> list[tuple[Source, Path]]:
    """Per data set of the benchmark: the file that is there, or the one that is to be made."""
    if benchmark not in BENCHMARK_DEFAULTS:
        known = suggest(benchmark, BENCHMARK_DEFAULTS)
        raise ConfigError(f"there is no benchmark {benchmark!r}{known}")
    found = []
    for options in SOURCES.get(benchmark, ()):
        there = [source for source in options if (root / source.file).is_file()]
        source = there[0] if there else options[-1]
        found.append((source, root / source.file))
    return found


def _recorded_digest(path: Path) -> str | None:
    """None in a file that somebody made without `prepare`."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return str(archive[DIGEST]) if DIGEST in archive.files else None


def _write(path: Path, arrays: dict[str, Any]) -> None:
    """All of it or nothing, and read-only: trials share it."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as f:
        draft = Path(f.name)
        try:
            np.savez(f, **arrays)
            f.flush()
            os.fsync(f.fileno())
            draft.chmod(0o444)
            os.replace(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
