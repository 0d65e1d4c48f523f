"""Settings of a trial: typed, bounded and torch-free; every mistake is reported at once."""

from hcl.config.benchmark import BENCHMARK_DEFAULTS, IMAGES, REGRESSION, BenchmarkConfig
from hcl.config.schema import ConfigError, flatten
from hcl.config.target import TargetConfig
from hcl.config.train import TrainConfig
from hcl.config.trial import SPEED_ONLY, TrialConfig, known_keys

__all__ = [
    "BENCHMARK_DEFAULTS",
    "IMAGES",
    "REGRESSION",
    "SPEED_ONLY",
    "BenchmarkConfig",
    "ConfigError",
    "TargetConfig",
    "TrainConfig",
    "TrialConfig",
    "flatten",
    "known_keys",
]
