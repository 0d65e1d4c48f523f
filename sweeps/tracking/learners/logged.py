"""Learners of a sweep's best seeds, logged as models of their runs.

A training keeps its last checkpoint beside its journal. The driver makes a model of it at the
sweep's end, so no trial writes anything for it, and a better trial's learner replaces the last.
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Run
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from hcl.config import ConfigError
from sweeps.records.trial_ends import readable_records
from sweeps.tracking.database import connect
from sweeps.tracking.learners.find import load_seed
from sweeps.tracking.learners.model import write_model
from sweeps.tracking.outages import OUTAGES, describe_outage
from sweeps.tracking.store import Store

log = logging.getLogger(__name__)

NAME = "learner"  # of every model


def keep_learners(store: Store, folders: Sequence[Path]) -> bool:
    """Make the sweep's experiment hold the learners of these seeds, and no others.

    It may be repeated: what is there is left alone. An outage, or a learner that cannot be read,
    gives a warning, never an error.

    Args:
        store: its experiment is the sweep's.
        folders: folders of finished seeds, whose journals MLflow has.

    Returns:
        Whether all of them are there.
    """
    try:
        client = connect(store)
        experiment = client.get_experiment_by_name(store.experiment)
        if experiment is None:
            raise FileNotFoundError(f"there is no MLflow experiment {store.experiment!r}")
        wanted = {run.info.run_id: (run, folder)
                  for folder in folders
                  if (run := _find_run(client, experiment.experiment_id, folder))}  # fmt: skip
        there = set()
        for model in _all_models(client, experiment.experiment_id):
            run_id = str(model.source_run_id)
            if run_id in wanted and model.status == LoggedModelStatus.READY:
                there.add(run_id)
            else:
                _delete(client, model)
        logged = [_log(client, *wanted[run_id]) for run_id in wanted.keys() - there]
        return len(wanted) == len(folders) and all(logged)
    except OUTAGES as error:
        reason = describe_outage(error, store.tracking_uri)
        log.warning("MLflow did not take the learners of %s: %s", store.experiment, reason)
        return False


def _find_run(client: MlflowClient, experiment_id: str, folder: Path) -> Run | None:
    records = readable_records(folder)
    key = records[0].get("run_key") if records else None
    query = f"tags.run_key = '{key}'"
    found = client.search_runs([experiment_id], query, order_by=["start_time ASC"])
    return found[0] if key and found else None


def _all_models(client: MlflowClient, experiment_id: str) -> list[LoggedModel]:
    """List the experiment's learners; models that a user logged there are none."""
    models: list[LoggedModel] = []
    token: str | None = None
    while True:
        page = client.search_logged_models([experiment_id], page_token=token)
        models += [model for model in page if model.model_type == NAME]
        token = page.token
        if not token:
            return models


def _delete(client: MlflowClient, model: LoggedModel) -> None:
    """Remove a model and its files, which MLflow's own deletion leaves on the disk."""
    get_artifact_repository(model.artifact_location, client.tracking_uri).delete_artifacts()
    client.delete_logged_model(model.model_id)


def _log(client: MlflowClient, run: Run, folder: Path) -> bool:
    """Log the learner of a seed as a model of its run; a warning where it cannot be read."""
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / "model"
        try:
            learner = load_seed(folder)
            made = client.create_logged_model(
                run.info.experiment_id, NAME, run.info.run_id, model_type=NAME
            )
            write_model(learner, model, Model(model_id=made.model_id, run_id=run.info.run_id))
        except ConfigError as error:
            log.warning("no learner of %s is logged: %s", folder, error)
            return False
        client.log_model_artifacts(made.model_id, str(model))
    client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    client.log_outputs(run.info.run_id, [LoggedModelOutput(made.model_id, len(learner.tasks))])
    return True
