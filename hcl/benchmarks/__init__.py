"""Benchmarks: sequences of tasks over data sets, each named in `hcl.config.benchmark`."""

from collections.abc import Callable
from pathlib import Path

import torch

from hcl.benchmarks.arrays import Benchmark
from hcl.benchmarks.regression import curves
from hcl.benchmarks.sequences import permuted, split
from hcl.benchmarks.sources import SOURCES, Part, read_parts
from hcl.config import BenchmarkConfig, ConfigError
from hcl.storage.files import resolve_root

__all__ = ["SEQUENCES", "SOURCES", "load"]

SEQUENCES: dict[str, Callable[[BenchmarkConfig, list[Part]], Benchmark]] = {
    "split": split,
    "permuted": permuted,
    "curves": curves,
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
    if errors := config.check():
        raise ConfigError(errors)
    parts = read_parts(config, resolve_root(data_root))
    return SEQUENCES[config.info.sequence](config, parts).to(device)
