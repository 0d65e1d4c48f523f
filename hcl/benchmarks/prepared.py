"""Data sets made ready once per node: one checked `.npz` that every trial then only reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hcl.benchmarks import files
from hcl.benchmarks.files import RawArrays, only_writer
from hcl.benchmarks.sources import SOURCES, Source, classes_needed
from hcl.config import BENCHMARKS, BenchmarkConfig, ConfigError
from hcl.config.schema import suggest
from hcl.storage.files import DataError, check_is_folder, resolve_root, write_atomically

DIGEST = "digest"  # key of the .npz: `files.digest` of its arrays when it was written


@dataclass(frozen=True)
class Prepared:
    """A data set as it is on this node."""

    path: Path
    digest: str = ""
    is_new: bool = False


class _File(NamedTuple):
    """A prepared file, there or to be made, with the first classes of a data set."""

    path: Path
    source: Source
    num_classes: int

    def read(self) -> RawArrays:
        """Read the file where it is there, else the form that the data set is downloaded in."""
        return self.source.read(self.path.parent, self.num_classes)


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
    return tuple(_prepare(file) for file in _files(benchmark, resolve_root(data_root)))


def _prepare(file: _File) -> Prepared:
    path = file.path
    if path.is_file():  # before any lock: the folder may be read-only
        return _check(file)
    check_is_folder(path.parent)
    try:
        with only_writer(path.parent, path.name):
            if path.is_file():
                return _check(file)
            arrays = file.read()
            digest = files.digest(arrays)
            kept: dict[str, Any] = {**arrays, DIGEST: np.array(digest)}
            # Read-only, because all trials of the node share it.
            write_atomically(path, lambda f: np.savez(f, **kept), mode=0o444)
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
    found = _files(benchmark, resolve_root(data_root))
    for file in found:
        if not file.path.is_file():
            raise DataError(
                f"{file.path} is missing; make it with: hcl data prepare {benchmark} --data-root"
                f" {file.path.parent}"
            )
    return tuple(map(_check, found))


def _check(file: _File) -> Prepared:
    digest, expected = files.digest(file.read()), _recorded_digest(file.path)
    if expected not in (None, digest):
        raise DataError(
            f"{file.path} was changed since it was prepared (digest {digest[:16]}, was"
            f" {str(expected)[:16]}); delete it and prepare it again"
        )
    return Prepared(file.path, digest)


def _files(benchmark: str, root: Path) -> list[_File]:
    """Find, for each data set of the benchmark, the file that is there or is to be made."""
    if benchmark not in BENCHMARKS:
        raise ConfigError(f"there is no benchmark {benchmark!r}{suggest(benchmark, BENCHMARKS)}")
    config = BenchmarkConfig(name=benchmark, **BENCHMARKS[benchmark].defaults)
    found = []
    for name, needed in classes_needed(config).items():
        source = SOURCES[name]
        large_enough = [
            _File(root / file, source, num_classes)
            for file, num_classes in source.prepared
            if num_classes >= needed
        ]
        there = [file for file in large_enough if file.path.is_file()]
        found += there[:1] or large_enough[-1:]
    return found


def _recorded_digest(path: Path) -> str | None:
    """Read the digest in a file; None in one that was made without `prepare`."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return str(archive[DIGEST]) if DIGEST in archive.files else None
