"""The only package that knows MLflow: deliver journals to it, read runs back from it.

Everything goes through MlflowClient. The fluent `mlflow.start_run` keeps a stack of active runs
per thread, which trials that share a process would inherit from each other.
"""

import sweeps.tracking.environment  # noqa: F401 - first, because MLflow reads it at import
from sweeps.tracking.database import prepare
from sweeps.tracking.delivery import deliver, deliver_all
from sweeps.tracking.read_runs import accuracy_matrices, runs_frame, sweep_settings
from sweeps.tracking.store import Store, is_made, local_store
from sweeps.tracking.sweep_run import close_runs, end_sweep, start_sweep

__all__ = [
    "Store",
    "accuracy_matrices",
    "close_runs",
    "deliver",
    "deliver_all",
    "end_sweep",
    "is_made",
    "local_store",
    "prepare",
    "runs_frame",
    "start_sweep",
    "sweep_settings",
]
