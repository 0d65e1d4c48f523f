"""Settings of a trial, typed and bounded, without torch; every mistake is reported at once."""

from hcl.config.benchmark import BENCHMARKS, BenchmarkConfig, BenchmarkInfo
from hcl.config.schema import ConfigError, flatten
from hcl.config.target import TargetConfig
from hcl.config.train import SPEED_ONLY, TrainConfig
from hcl.config.trial import TrialConfig, as_trial, known_keys

__all__ = [
    "BENCHMARKS",
    "SPEED_ONLY",
    "BenchmarkConfig",
    "BenchmarkInfo",
    "ConfigError",
    "TargetConfig",
    "TrainConfig",
    "TrialConfig",
    "as_trial",
    "flatten",
    "known_keys",
]
