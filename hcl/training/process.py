"""The process that trains: its device, threads, kernels and versions."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy
import torch

from hcl.config import ConfigError
from hcl.kernels.matmul import fastest_float32
from hcl.results import NUMERICS_VERSION


@dataclass(frozen=True)
class Runtime:
    """Device, threads and folders of a trial; nothing here changes what it computes.

    Attributes:
        device: "cpu", "cuda", "cuda:1".
        data_root: folder with the data sets; None = env HCL_DATA, else ~/.cache/hcl/data.
        threads: CPU threads of torch; None = leave as it is. Equal threads, equal bits.
        checkpoint_dir: where to write and look for checkpoints; None = none.
        checkpoint_every: steps between checkpoints inside a task; 0 = at task boundaries only.
        classifiers: folder in which trials share a classifier that is the same in both
            (hcl.storage.shared_classifier); None = every trial trains its own.
    """

    device: str = "cpu"
    data_root: Path | str | None = None
    threads: int | None = None
    checkpoint_dir: Path | str | None = None
    checkpoint_every: int = 0
    classifiers: Path | str | None = None


# glibc, malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


@contextmanager
def process_settings(runtime: Runtime) -> Iterator[None]:
    """Set threads and kernels for a trial, and put the threads back.

    Raises:
        ConfigError: there is no such device here, or fewer than one thread is asked for.
    """
    check_device(runtime.device)
    if runtime.threads is not None and runtime.threads < 1:
        raise ConfigError(f"threads: must be >= 1 but got {runtime.threads}")
    keep_freed_memory()
    before = torch.get_num_threads()
    try:
        if runtime.threads:
            torch.set_num_threads(runtime.threads)
        with fastest_float32():
            yield
    finally:
        torch.set_num_threads(before)


def check_device(name: str) -> None:
    """Refuse a device that is not here.

    Raises:
        ConfigError: there is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"unknown device {name!r}; use cpu, cuda or cuda:NUMBER")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device {name} is not available here, PyTorch sees {torch.cuda.device_count()} GPUs;"
            " use --device cpu"
        )


def versions(runtime: Runtime) -> dict[str, str]:
    """Give the versions that matter to the numbers, of hcl, Python and libraries; the device."""
    is_cuda = torch.device(runtime.device).type == "cuda"
    name = torch.cuda.get_device_name(runtime.device) if is_cuda else platform.machine()
    try:
        own = metadata.version("hcl-sweeps")
    except metadata.PackageNotFoundError:  # run from a checkout, e.g. on a bare GPU node
        own = "not installed"
    return {
        "hcl": own,
        "numerics": str(NUMERICS_VERSION),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "device": name,
        "threads": str(torch.get_num_threads()),
    }


@cache
def keep_freed_memory() -> None:
    """Let freed tensors be used again without asking the operating system, from now on.

    Otherwise every tensor above 32 MB at most is mapped anew when it is made, and each of its
    pages is cleared when it is first written. Nothing is done where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)
    mallopt(M_ARENA_MAX, 1)  # a thread's own arena (Ray trains in a thread) cannot hold much
