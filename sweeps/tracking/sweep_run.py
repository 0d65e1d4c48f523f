"""A sweep's own MLflow run: the parent of its trials' runs."""

from pathlib import Path
from typing import Any

from mlflow.entities import Param, RunTag

from sweeps.records.folder import SweepFolder
from sweeps.tracking.database import connect
from sweeps.tracking.entries import text
from sweeps.tracking.outages import outages_as_config_error
from sweeps.tracking.read_runs import all_runs
from sweeps.tracking.store import Store

FRONT = "pareto_front.png"


def space_params(space: dict[str, Any]) -> dict[str, Any]:
    """Return the constants and settings of a search space file, as params of the sweep's run."""
    return {**space["trial"], **{f"sweep/{key}": value for key, value in space["sweep"].items()}}


def start_sweep(store: Store, name: str, params: dict[str, Any], tags: dict[str, Any]) -> str:
    """Find the sweep's run by its name, or create it; it is RUNNING afterwards.

    MLflow never changes a param: where a resumed sweep has a new value (more trials), the param
    keeps the first and a tag of the same name holds the new one.

    Returns:
        The run's id, the parent of its trials.

    Raises:
        ConfigError: the store is not reachable; one sentence.
    """
    with outages_as_config_error(store):
        client = connect(store)
        experiment = client.get_experiment_by_name(store.experiment)
        if experiment is None:
            raise FileNotFoundError(f"there is no MLflow experiment {store.experiment!r}")
        query = f"tags.kind = 'sweep' and tags.sweep = '{name}'"
        runs = client.search_runs([experiment.experiment_id], query, order_by=["start_time ASC"])
        identity = {"kind": "sweep", "sweep": name}
        run = (
            runs[0]
            if runs
            else client.create_run(experiment.experiment_id, tags=identity, run_name=name)
        )
        if run.info.status != "RUNNING":
            client.update_run(run.info.run_id, "RUNNING")
        written = {key: text(value) for key, value in params.items()}
        added = {k: v for k, v in written.items() if k not in run.data.params}
        changed = {k: v for k, v in written.items() if run.data.params.get(k, v) != v}
        all_tags = changed | {key: text(value) for key, value in tags.items()}
        client.log_batch(
            run.info.run_id,
            params=[Param(key, value) for key, value in added.items()],
            tags=[RunTag(key, value) for key, value in all_tags.items()],
        )
    return run.info.run_id


def end_sweep(
    store: Store,
    parent_run_id: str,
    status: str,
    metrics: dict[str, float],
    artifacts: list[Path],
) -> None:
    """Write the sweep's outcome to its run and close it as FINISHED, FAILED or KILLED.

    Raises:
        ConfigError: the store is not reachable; one sentence.
    """
    with outages_as_config_error(store):
        client = connect(store)
        known = client.get_run(parent_run_id).data.metrics
        for key, value in metrics.items():
            if known.get(key) != value:
                client.log_metric(parent_run_id, key, value)
        for path in artifacts:
            client.log_artifact(parent_run_id, str(path))
        client.set_terminated(parent_run_id, status)


def close_runs(store: Store, sweep: str, status: str = "KILLED") -> int:
    """Close the sweep's trial runs that are still RUNNING: their processes are gone.

    Call it when no trial of the sweep is alive, after the last `deliver`. A trial that is
    resumed later opens its run again.

    Returns:
        How many runs were closed.

    Raises:
        ConfigError: the store is not reachable; one sentence.
    """
    with outages_as_config_error(store):
        client = connect(store)
        runs = all_runs(store, f"tags.sweep = '{sweep}' and attributes.status = 'RUNNING'")
        trials = [run for run in runs if run.data.tags.get("kind") == "trial"]
        for run in trials:
            client.set_terminated(run.info.run_id, status)
    return len(trials)


def close_sweep(folder: SweepFolder, store: Store, parent_run_id: str) -> None:
    """Record in MLflow how a sweep ended that nobody is running, by what its folder says.

    Raises:
        ConfigError: the store is not reachable.
    """
    info = folder.read_info()
    status = info.get("status", "FINISHED")
    if status == "RUNNING":  # its driver was killed
        status = "KILLED"
    artifacts = [path for path in (folder.space_file, folder.path / FRONT) if path.exists()]
    close_runs(store, folder.name)
    end_sweep(store, parent_run_id, status, info.get("metrics", {}), artifacts)
