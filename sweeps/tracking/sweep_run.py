"""A sweep's own MLflow run: the parent of its trials' runs, opened and closed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, RunTag

from sweeps.records.entries import text
from sweeps.records.folder import SweepFolder
from sweeps.tracking.database import connect
from sweeps.tracking.outages import outages_as_config_error
from sweeps.tracking.read_runs import all_runs
from sweeps.tracking.store import Store
from sweeps.tracking.views import Columns, view_tags

FRONT = "pareto_front.png"
VERDICT = "verdict.html"  # of a study
NOTE = "mlflow.note.content"


def start_sweep(
    store: Store,
    name: str,
    params: dict[str, Any],
    tags: dict[str, Any],
    columns: Columns | None = None,
) -> str:
    """Find the sweep's run by its name, or create it; it is RUNNING afterwards.

    MLflow never changes a param: where a resumed sweep has a new value (more trials), the param
    keeps the first and a tag of the same name holds the new one. The experiment gets its saved
    views, unless a person has saved others in their place.

    Args:
        store: made ready by `prepare`.
        name: of the sweep, or of whatever else its trials belong to.
        params: settings that all trials share.
        tags: tags of the run; `command` and `description` make its note, too.
        columns: what the views show of the trials' runs.

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
        views = view_tags(columns or Columns(), run.info.start_time)
        _tag_experiment(client, experiment, views | {NOTE: first_note(tags)})
    return run.info.run_id


def _tag_experiment(client: MlflowClient, experiment: Experiment, tags: dict[str, str]) -> None:
    for key, value in tags.items():
        if key not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, key, value)


def first_note(tags: dict[str, Any]) -> str:
    """Write the note of a sweep that has no results yet: its question and its command."""
    described, command = (text(tags.get(key)) for key in ("description", "command"))
    parts = [described, f"```\n{command}\n```" if command else ""]
    return "\n\n".join(filter(None, parts))


def end_sweep(
    store: Store,
    parent_run_id: str,
    status: str,
    metrics: dict[str, float],
    artifacts: list[Path],
    note: str = "",
) -> None:
    """Write the sweep's outcome to its run and close it as FINISHED, FAILED or KILLED.

    Args:
        store: where the run is.
        parent_run_id: its id.
        status: "FINISHED", "FAILED" or "KILLED".
        metrics: the first ones are shown first.
        artifacts: files.
        note: Markdown that the UI shows on the run and on its experiment.

    Raises:
        ConfigError: the store is not reachable; one sentence.
    """
    with outages_as_config_error(store):
        client = connect(store)
        run = client.get_run(parent_run_id)
        known = run.data.metrics
        for key, value in metrics.items():
            if known.get(key) != value:
                client.log_metric(parent_run_id, key, value)
        for path in artifacts:
            client.log_artifact(parent_run_id, str(path))
        if note:
            client.set_tag(parent_run_id, NOTE, note)
            client.set_experiment_tag(run.info.experiment_id, NOTE, note)
        client.set_terminated(parent_run_id, status)


def add_metrics(store: Store, sweep: str, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Add metrics to runs that have ended; what a run has already is not sent again.

    Args:
        store: where the runs are.
        sweep: to which they belong.
        metrics: run_key -> the run's metrics.

    Raises:
        ConfigError: the store is not reachable; one sentence.
    """
    with outages_as_config_error(store):
        client = connect(store)
        for run in all_runs(store, f"tags.kind = 'trial' and tags.sweep = '{sweep}'"):
            time = run.info.end_time or run.info.start_time
            new = [
                Metric(key, value, time, int(run.data.params.get("benchmark/num_tasks", 0)))
                for key, value in metrics.get(run.data.tags.get("run_key", ""), {}).items()
                if run.data.metrics.get(key) != value
            ]
            if new:
                client.log_batch(run.info.run_id, metrics=new)


def close_runs(store: Store, sweep: str) -> int:
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
            client.set_terminated(run.info.run_id, "KILLED")
    return len(trials)


def close_sweep(folder: SweepFolder, store: Store, parent_run_id: str) -> None:
    """Record in MLflow how a sweep ended that nobody is running, by what its folder says.

    Trainings without a search may share the folder with others that go on: these stay open.

    Raises:
        ConfigError: the store is not reachable.
    """
    info = folder.read_info()
    status = info.get("status", "FINISHED")
    if status == "RUNNING":  # its driver was killed
        status = "KILLED"
    files = (folder.space_file, folder.path / FRONT, folder.page, folder.path / VERDICT)
    artifacts = [path for path in files if path.exists()]
    metrics, note = info.get("metrics", {}), info.get("note", "")
    if folder.space_file.exists():
        close_runs(store, folder.name)
    end_sweep(store, parent_run_id, status, metrics, artifacts, note)
