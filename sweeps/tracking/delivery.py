"""Delivery of a trial's journal to MLflow, which may be repeated at any moment.

A repetition sends what the server does not have, and no point twice. Three facts make it so:

- A run is found again by its tag `run_key`.
- A metric point is (key, step, time of its record, value), and MLflow stores equal points once.
- The tag `delivered` counts the records that the server has. It is sent after what it counts, so
  an outage in between only means that some of them are sent again.

After a repair of the journal, whose new records have new times, everything is sent again except
the points whose key and step the run has.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from hcl.storage.files import LockHeldError, locked
from sweeps.records.entries import (
    delivered_tag,
    metric_points,
    milliseconds,
    num_delivered,
    run_name,
    run_params,
    run_status,
    run_tags,
    text,
)
from sweeps.records.journal import Journal, JournalError
from sweeps.tracking.artifacts import RunArtifacts
from sweeps.tracking.database import connect
from sweeps.tracking.outages import OUTAGES, describe_outage
from sweeps.tracking.read_runs import all_runs
from sweeps.tracking.store import Store

log = logging.getLogger(__name__)

_BATCH = 800  # metrics per request; the server takes 1000 entries
_FEW = 100  # params, and tags, per request
AT_A_TIME = 8  # journals on their way to a server, which mostly waits for its database


def deliver(store: Store, folder: Path, parent_run_id: str | None) -> bool:
    """Send the part of the journal in `folder` that the server does not have yet.

    Args:
        store: made ready by `prepare`.
        folder: holds journal.jsonl.
        parent_run_id: the sweep's run, or None.

    Returns:
        Whether the server now has everything; False also where another process is delivering
        this journal. An outage or a damaged journal only gives a warning: records must never
        stop a training.
    """
    try:
        records = Journal(folder).records()
        if not records:
            return True
        with locked(Path(folder) / ".deliver.lock", timeout=0):  # two could create two runs
            client = connect(store)
            run, is_new = _find_or_create_run(client, store.experiment, records[0], parent_run_id)
            _Delivery(client, run, is_new, Path(folder), records).send()
    except LockHeldError:
        return False
    except JournalError as error:
        log.error("%s; the command that trained it repairs it", error)
        return False
    except OUTAGES as error:
        reason = describe_outage(error, store.tracking_uri)
        log.warning("MLflow did not take %s: %s", folder, reason)
        return False
    return True


def deliver_all(store: Store, folders: Sequence[Path], parent_run_id: str | None) -> list[bool]:
    """Deliver every journal; one question finds out which of them are complete already.

    Returns:
        For each folder whether the server now has everything.
    """
    try:
        states = _delivered_states(store, folders)
    except OUTAGES:
        # A server that hangs would make every journal wait: the first one finds out for all.
        if not folders or not deliver(store, folders[0], parent_run_id):
            return [False] * len(folders)
        states = {}
    left = [folder for folder in folders if not _has_arrived(folder, states)]
    # Writers of one sqlite file would only wait for each other.
    pool = ThreadPoolExecutor(1 if store.sqlite_file else AT_A_TIME, "hcl-deliver")
    try:
        sent = pool.map(lambda folder: deliver(store, folder, parent_run_id), left)
        arrived = dict(zip(left, sent, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)  # a second Ctrl-C waits for those on their way alone
    return [arrived.get(folder, True) for folder in folders]


def _delivered_states(store: Store, folders: Sequence[Path]) -> dict[str, tuple[str, str]]:
    """Return run_key -> (the tag `delivered`, the status) for every run of the folders' sweep."""
    keys = filter(None, map(_run_key, folders))  # a study's sweeps share an experiment
    sweep = next((key.split("/")[0] for key in keys), store.experiment)
    query = f"tags.kind = 'trial' and tags.sweep = '{sweep}'"
    states: dict[str, tuple[str, str]] = {}
    for run in all_runs(store, query):
        tags = run.data.tags
        # Oldest first: of two runs with one key, a delivery finds the oldest.
        states.setdefault(tags.get("run_key", ""), (tags.get("delivered", ""), run.info.status))
    return states


def _run_key(folder: Path) -> str | None:
    """Return the run key of a journal; None if it is empty or damaged."""
    with suppress(JournalError):
        return next((record["run_key"] for record in Journal(folder).records()[:1]), None)
    return None


def _has_arrived(folder: Path, states: dict[str, tuple[str, str]]) -> bool:
    try:
        records = Journal(folder).records()
    except JournalError:
        return False
    key = records[0].get("run_key") if records else None
    return key is not None and states.get(key) == (delivered_tag(records), run_status(records)[0])


def _find_or_create_run(
    client: MlflowClient, experiment: str, start: dict[str, Any], parent_run_id: str | None
) -> tuple[Run, bool]:
    """Return the journal's run, and whether it was made just now."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise FileNotFoundError(f"there is no MLflow experiment {experiment!r}; prepare it first")
    run_key = start["run_key"]
    query = f"tags.run_key = '{run_key}'"
    # Should a request have been doubled on its way, the oldest run is the one that counts.
    runs = client.search_runs([found.experiment_id], query, order_by=["start_time ASC"])
    if runs:
        return runs[0], False
    # By these `close_runs` finds it, even if no further request comes through.
    tags = {"run_key": run_key, "kind": "trial", "sweep": text(start["sweep"])}
    if parent_run_id is not None:
        tags["mlflow.parentRunId"] = parent_run_id
    name, time = run_name(start), milliseconds(start)
    return client.create_run(found.experiment_id, time, tags, run_name=name), True


class _Delivery:
    """One journal on its way to its run."""

    def __init__(
        self,
        client: MlflowClient,
        run: Run,
        is_new: bool,
        folder: Path,
        records: list[dict[str, Any]],
    ) -> None:
        self.client = client
        self.run = run
        self.run_id = run.info.run_id
        self.folder = folder
        self.records = records
        self.start = records[0]
        self.artifacts = RunArtifacts(client, self.run_id, self.start, is_new)
        self.params: list[Param] = []  # these two are sent with the last request
        self.tags: dict[str, Any] = {}

    def send(self) -> None:
        """Send what is new, and close the run if its journal has ended."""
        first = num_delivered(self.run.data.tags.get("delivered", ""), self.records)
        status, end_time = run_status(self.records)
        if first < len(self.records):
            # A trial that goes on opens its run again. One that outlives its driver for a moment,
            # on another node, does not: nobody would close it once more.
            begins = any(record["kind"] in ("start", "resume") for record in self.records[first:])
            if begins and self.run.info.status != "RUNNING":
                self.client.update_run(self.run_id, "RUNNING")
            if first == 0:
                self._send_start()
            for record in self.records[first:]:
                if record["kind"] == "end":
                    self._send_end(record)
                if record.get("samples"):
                    self.artifacts.send_samples(record, self.folder)
            self._note_failure()
            # Last, because its tag says that everything before it has arrived.
            self._send_metrics(first)
        elif self.run.info.status == status:
            return
        if status != "RUNNING":
            self.client.set_terminated(self.run_id, status, end_time=end_time)

    def _send_start(self) -> None:
        known = self.run.data.params  # MLflow never changes a param
        params = [Param(k, v) for k, v in run_params(self.start).items() if k not in known]
        tags = run_tags(self.start)
        if len(params) <= _FEW and len(tags) <= _FEW // 2:
            self.params, self.tags = params, {**tags}
            return
        entries = [RunTag(key, value) for key, value in tags.items()]
        self.client.log_batch(self.run_id, params=params, tags=entries)  # splits by itself

    def _send_end(self, record: dict[str, Any]) -> None:
        versions = record.get("versions") or {}
        self.tags |= {f"versions/{name}": version for name, version in versions.items()}
        self._send_dataset(record)
        self.artifacts.send_accuracy(record)

    def _send_dataset(self, record: dict[str, Any]) -> None:
        digest = record.get("data_digest") or run_tags(self.start).get("data_digest")
        if not digest:
            return
        params = run_params(self.start)
        name = params.get("benchmark/name", "data")
        source = {k: v for k, v in params.items() if k.startswith("benchmark/")}
        dataset = Dataset(name, str(digest)[:36], "hcl", text(source))
        tags = [InputTag("mlflow.data.context", "training and evaluation")]
        inputs = [DatasetInput(dataset, tags)]
        try:
            self.client.log_inputs(self.run_id, inputs)
        except MlflowException:
            # The first runs of an experiment end together, and MLflow's server looks for their
            # data set before any of them has made it: then all but one are refused.
            self.client.log_inputs(self.run_id, inputs)

    def _note_failure(self) -> None:
        """Tag a run that failed with the reason; a resumed one loses the tag."""
        last = self.records[-1]
        if last["kind"] == "stopped":
            self.tags["stopped_early"] = f"after {last.get('tasks_learned')} tasks"
        if last["kind"] == "failed":
            self.tags["failure"] = last.get("reason")
        elif "failure" in self.run.data.tags:
            self.client.delete_tag(self.run_id, "failure")

    def _send_metrics(self, first: int) -> None:
        """Send the new records' points in few requests, and the tags in the last of them."""
        points = [Metric(*point) for point in metric_points(self.records, first)]
        if any(record["kind"] == "mended" for record in self.records[first:]):
            known = self._known_points({point.key for point in points})
            points = [point for point in points if (point.key, point.step) not in known]
        while len(points) > _BATCH:
            self.client.log_batch(self.run_id, metrics=points[:_BATCH])
            points = points[_BATCH:]
        # The server stores a request's params and metrics before its tags.
        tags = {**self.tags, **self.artifacts.tags, "delivered": delivered_tag(self.records)}
        entries = [RunTag(key, text(value)) for key, value in tags.items()]
        self.client.log_batch(self.run_id, metrics=points, params=self.params, tags=entries)

    def _known_points(self, keys: set[str]) -> set[tuple[str, int]]:
        """Ask the server for (key, step) of every point that the run has of these metrics."""
        return {
            (point.key, point.step)
            for key in keys & set(self.run.data.metrics)
            for point in self.client.get_metric_history(self.run_id, key)
        }
