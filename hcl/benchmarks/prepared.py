"""Data sets made ready once per node: one checked `.npz` that every trial then only reads."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcl.benchmarks import mnist, raw
from hcl.benchmarks.raw import DataError, RawArrays
from hcl.config import BENCHMARK_DEFAULTS, ConfigError
from hcl.schema import suggest

DIGEST = "digest"  # key of the .npz: what `raw.digest` of its arrays was when it was written

# Per benchmark: its prepared file, and how its data are read from a root, or downloaded into it.
# Benchmarks that are not here bring their data with them.
SOURCES: dict[str, tuple[str, Callable[[Path], RawArrays]]] = {
    "split_mnist": (mnist.NPZ, mnist.load),
    "permuted_mnist": (mnist.NPZ, mnist.load),
}


@dataclass(frozen=True)
class Prepared:
    """A data set as it is on this node; no path for one that is bundled."""

    path: Path | None
    digest: str = ""
    is_new: bool = False


def prepare(benchmark: str, data_root: Path | str | None = None) -> Prepared:
    """Write the benchmark's prepared file unless it is there; one process at a time does it.

    Args:
        benchmark: a name of BENCHMARKS.
        data_root: folder with the data; None = env HCL_DATA, else ~/.cache/hcl/data.

    Raises:
        ConfigError: no such benchmark.
        DataError: its data are damaged, or missing and cannot be downloaded.
    """
    if (path := _path(benchmark, data_root)) is None:
        return Prepared(None)
    if path.is_file():  # looked at first: the folder may be one that cannot be written to
        return check(benchmark, data_root)
    mnist.check_is_folder(path.parent)
    try:
        with mnist.locked(path.with_name(f".{path.name}.lock")):
            if path.is_file():
                return check(benchmark, data_root)
            arrays = SOURCES[benchmark][1](path.parent)
            digest = raw.digest(arrays)
            _write(path, {**arrays, DIGEST: np.array(digest)})
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}); name another folder with --data-root"
            " or HCL_DATA"
        ) from error
    return Prepared(path, digest, is_new=True)


def check(benchmark: str, data_root: Path | str | None = None) -> Prepared:
    """Read the benchmark's prepared file and compare it with the digest it was written with.

    Raises:
        ConfigError: no such benchmark.
        DataError: the file is missing, damaged, or not what it was.
    """
    if (path := _path(benchmark, data_root)) is None:
        return Prepared(None)
    if not path.is_file():
        raise DataError(
            f"{path} is missing; make it with: hcl data prepare {benchmark} --data-root"
            f" {path.parent}"
        )
    arrays = SOURCES[benchmark][1](path.parent)
    digest, expected = raw.digest(arrays), _recorded_digest(path)
    if expected not in (None, digest):
        raise DataError(
            f"{path} was changed since it was prepared (digest {digest[:16]}, was"
            f" {str(expected)[:16]}); delete it and prepare it again"
        )
    return Prepared(path, digest)


def _path(benchmark: str, data_root: Path | str | None) -> Path | None:
    if benchmark not in BENCHMARK_DEFAULTS:
        known = suggest(benchmark, BENCHMARK_DEFAULTS)
        raise ConfigError(f"there is no benchmark {benchmark!r}{known}")
    if benchmark not in SOURCES:
        return None
    return raw.resolve_root(data_root) / SOURCES[benchmark][0]


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
