"""Settings of a task sequence, and what is known of each benchmark without its data."""

from hcl.config.benchmark.group import GROUP
from hcl.config.benchmark.info import BENCHMARKS, BenchmarkInfo
from hcl.config.benchmark.settings import MAX_PADDING, BenchmarkConfig

__all__ = ["BENCHMARKS", "GROUP", "MAX_PADDING", "BenchmarkConfig", "BenchmarkInfo"]
