"""Benchmarks: sequences of tasks over data sets, each named in `hcl.config.benchmark`."""

from dataclasses import replace
from pathlib import Path

import torch

from hcl.benchmarks.arrays import Benchmark
from hcl.benchmarks.sequences import SEQUENCES
from hcl.benchmarks.sources import SOURCES, read_parts
from hcl.config import BenchmarkConfig, ConfigError, plugins
from hcl.config.plugins import is_import_path
from hcl.storage.files import resolve_root

__all__ = ["SEQUENCES", "SOURCES", "load"]


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
    if is_import_path(config.sequence):
        return _own_sequence(config, resolve_root(data_root)).to(device)
    parts = read_parts(config, resolve_root(data_root))
    order_seed = config.choose_order_seed(trial_seed)
    made = SEQUENCES[config.info.sequence](config, parts, order_seed)
    if len(parts) == 1:  # several data sets give the same labels to different classes
        made = replace(made, class_names=parts[0].class_names)
    return made.to(device)


def _own_sequence(config: BenchmarkConfig, root: Path) -> Benchmark:
    """Let a user's own function make the tasks: (BenchmarkConfig, data root) -> Benchmark."""
    made = plugins.load(config.sequence)(config, root)
    if not isinstance(made, Benchmark) or len(made.tasks) != config.num_tasks:
        raise ConfigError(
            f"benchmark/sequence: {config.sequence} must make an hcl.benchmarks.arrays.Benchmark"
            f" of {config.num_tasks} tasks (benchmark/num_tasks) but made {made!r:.60}"
        )
    return made
