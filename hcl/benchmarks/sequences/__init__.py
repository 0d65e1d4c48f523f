"""Sequences of tasks: how tasks are made of data sets, by name.

Everything random is drawn from (benchmark/seed, purpose), so that all trials of a sweep see the
same tasks; but class orders and permutations from (benchmark/order_seed, purpose) where it is set.
"""

from collections.abc import Callable

from hcl.benchmarks.arrays import Benchmark
from hcl.benchmarks.sequences.chained import chained
from hcl.benchmarks.sequences.curves import curves
from hcl.benchmarks.sequences.given import given
from hcl.benchmarks.sequences.permuted import permuted
from hcl.benchmarks.sequences.rotated import rotated
from hcl.benchmarks.sequences.split import split
from hcl.benchmarks.sources import Part
from hcl.config import BenchmarkConfig

__all__ = ["SEQUENCES"]

# Each takes the settings, the data sets, and the seed of class orders and permutations.
SEQUENCES: dict[str, Callable[[BenchmarkConfig, list[Part], int], Benchmark]] = {
    "split": split,
    "permuted": permuted,
    "rotated": rotated,
    "chained": chained,
    "given": given,
    "curves": curves,
}
