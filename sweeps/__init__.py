"""The driver: Ray runs the trials, Optuna chooses them, MLflow records them.

Ray and MLflow read their environment when they are imported, in this process and in every worker.
It is therefore set here, before any module of this package can import them.
"""

import os
import sys
from importlib import import_module
from typing import Any

_ENVIRONMENT = {
    # Token authentication is half-default since Ray 2.59: whoever connects to an address must be
    # told that the cluster uses it.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # sweeps.cluster.tuner handles signals
    # Ray writes the state of all trials to disk again and again, to restore what this project
    # resumes from the study instead.
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    "RAY_AIR_NEW_OUTPUT": "0",  # its banner appears even with verbose=0
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Otherwise every worker of `uv run hcl sweep` builds the environment again.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Tune gives its workers an environment of their own and never uses prestarted ones.
    "RAY_prestart_worker_first_driver": "0",
    # MLflow's defaults block every call for four minutes on a dead server. Nothing is retried
    # at all: a delivery is repeated anyway, and a repeated "create run" request can make two runs.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

# Each is imported when it is first used: the command `hcl` does not wait for it.
_MODULES = dict.fromkeys(("compare", "load", "report", "run_sweep", "runs"), "sweeps.api")

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'sweeps' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__


def _set_environment() -> None:
    """Set what the user has not set."""
    for name, value in _ENVIRONMENT.items():
        # Where a program has imported Ray before this package, half of Ray would believe a new
        # mode and the other half would not.
        if name != "RAY_AUTH_MODE" or "ray" not in sys.modules:
            os.environ.setdefault(name, value)


_set_environment()
