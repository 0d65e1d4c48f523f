"""Runs read back from MLflow: as a table, as accuracy matrices, as a sweep's settings."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Run

from sweeps.records.entries import rows_frame
from sweeps.tracking.database import connect
from sweeps.tracking.outages import outages_as_config_error
from sweeps.tracking.store import Store

_PAGE = 500


def runs_frame(store: Store, sweep: str | None = None) -> pd.DataFrame:
    """Read one row per seed, of one sweep or of every sweep in the store.

    Returns:
        Columns: run_id, status, start_time, data_digest (None until a run ends); params under
        their one name ("method/beta", numbers where all are numbers); "tags.NAME"; metrics under
        their name with their last value. `tasks_learned` and `num_tasks` are always there: a run
        is complete when they are equal, whatever its status.

    Raises:
        ConfigError: the store is not reachable; one sentence.
    """
    query = "tags.kind = 'trial'" + (f" and tags.sweep = '{sweep}'" if sweep is not None else "")
    with outages_as_config_error(store):
        rows = [_row(run) for run in all_runs(store, query)]
    return rows_frame(rows)


def sweep_settings(store: Store, sweep: str) -> dict[str, str]:
    """Read the params and tags of the sweep's own run; empty where there is none."""
    with outages_as_config_error(store):
        runs = all_runs(store, f"tags.kind = 'sweep' and tags.sweep = '{sweep}'")
    return runs[0].data.params | runs[0].data.tags if runs else {}


def accuracy_matrices(store: Store, run_id: str) -> dict[str, list[list[float]]]:
    """Read a run's accuracy matrices, {"test/task": [[..], [.., ..], ...], ...}."""
    with outages_as_config_error(store), tempfile.TemporaryDirectory() as folder:
        path = connect(store).download_artifacts(run_id, "accuracy.json", folder)
        return json.loads(Path(path).read_text())


def all_runs(store: Store, query: str) -> list[Run]:
    """Read every run that the query finds in the whole store, oldest first, page after page."""
    client = connect(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            experiments,
            query,
            max_results=_PAGE,
            order_by=["start_time ASC"],
            page_token=token,
        )
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def _row(run: Run) -> dict[str, Any]:
    tags = run.data.tags
    row: dict[str, Any] = {
        "run_id": run.info.run_id,
        "status": run.info.status,
        "start_time": run.info.start_time,
        "num_tasks": tags.get("num_tasks"),
        "data_digest": _data_digest(run),
    }
    row |= {f"tags.{key}": value for key, value in tags.items() if not key.startswith("mlflow.")}
    return row | run.data.params | run.data.metrics


def _data_digest(run: Run) -> str | None:
    """Name the data of a finished run; MLflow holds it as the digest of the run's dataset."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return inputs[0].dataset.digest if inputs else None
