"""Continual learning with task-conditioned hypernetworks: the library.

`import hcl; result = hcl.run({...})`. Each name is imported when it is first used: reading a
configuration does not wait for torch. `hcl.metrics` computes with accuracy matrices alone.
Type checkers read `__init__.pyi` instead.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "Answers": "hcl.learners",
    "ConfigError": "hcl.config",
    "Learner": "hcl.learners",
    "Progress": "hcl.results",
    "Replica": "hcl.replicas",
    "Result": "hcl.results",
    "Runtime": "hcl.training.process",
    "TaskReport": "hcl.results",
    "TrainingDiverged": "hcl.training.learner",
    "TrialConfig": "hcl.config",
    "continue_training": "hcl.training.continuing",
    "estimate": "hcl.measure.needs",
    "load": "hcl.learners",
    "load_benchmark": "hcl.training.trial_state",
    "metrics": "hcl",
    "run": "hcl.training.learner",
    "run_replicas": "hcl.replicas",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hcl' has no attribute {name!r}")
    if name == "metrics":  # a module
        return import_module("hcl.metrics")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
