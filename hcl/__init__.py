"""Continual learning with task-conditioned hypernetworks: the library.

`from hcl import TrialConfig, run`. Each name is imported when it is first used: reading a
configuration does not wait for torch.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "Answers": "hcl.learners",
    "ConfigError": "hcl.config.schema",
    "Learner": "hcl.learners",
    "Progress": "hcl.results",
    "Replica": "hcl.replicas",
    "Result": "hcl.results",
    "Runtime": "hcl.training.process",
    "TaskReport": "hcl.results",
    "TrainingDiverged": "hcl.training.learner",
    "TrialConfig": "hcl.config",
    "continue_training": "hcl.training.continuing",
    "load": "hcl.learners",
    "run": "hcl.training.learner",
    "run_replicas": "hcl.replicas",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hcl' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
