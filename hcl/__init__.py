"""Continual learning with task-conditioned hypernetworks: the library.

`from hcl import TrialConfig, run`. Attributes are imported when first used, so that reading a
configuration does not import torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "ConfigError": "hcl.config.schema",
    "Progress": "hcl.results",
    "Replica": "hcl.replicas",
    "Result": "hcl.results",
    "Runtime": "hcl.training.process",
    "TaskReport": "hcl.results",
    "TrainingDiverged": "hcl.training.learner",
    "TrialConfig": "hcl.config",
    "run": "hcl.training.learner",
    "run_replicas": "hcl.replicas",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hcl' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
