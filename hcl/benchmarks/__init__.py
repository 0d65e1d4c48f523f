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

# Each takes the settings, the data sets, and the seed of class orders and permutations.
SEQUENCES: dict[str, Callable[[BenchmarkConfig, list[Part], int], Benchmark]] = {
    "split": split,
    "permuted": permuted,
    "curves": curves,
}


def load(
    config: BenchmarkConfig,
    data_root: Path | str | None = None,
    device: torch.device | str = "cpu",
    trial_seed: int = 1,
) -> Benchmark:
    """Build the benchmark that `config` names, on `device`.

    Args:
        config: name, size and split.
        data_root: folder with the raw data; None = env HCL_DATA, else ~/.cache/hcl/data.
        device: where the tensors of all tasks go.
        trial_seed: the trial's seed, which `order_seed: trial` follows; not used otherwise.

    Raises:
        ConfigError: the benchmark cannot be what `config` asks for.
        DataError: its data are missing or damaged.
    """
    if errors := config.check():
        raise ConfigError(errors)
    parts = read_parts(config, resolve_root(data_root))
    order_seed = config.choose_order_seed(trial_seed)
    return SEQUENCES[config.info.sequence](config, parts, order_seed).to(device)
