"""Send a trial's journal to MLflow: repeatable at any moment, never twice the same point.

Three facts make a delivery repeatable. A run is found again by its tag `run_key`. A metric point
is (key, step, time of the record, value), and MLflow stores equal points once. The tag
`delivered` counts the records that the server has, and is written after what it counts.
"""

from __future__ import annotations

import fcntl
import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sweeps.records.journal import Journal, JournalError
from sweeps.tracking.entries import final_metrics, run_params, run_tags, task_metrics, text
from sweeps.tracking.read_runs import all_runs
from sweeps.tracking.store import Store, connect, outages, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from PIL.Image import Image

log = logging.getLogger(__name__)

_BATCH = 800  # metrics per request; the server takes 1000 entries


def deliver(store: Store, folder: Path, parent_run_id: str | None) -> bool:
    """Send what the server does not have yet of the journal in `folder`.

    Args:
        store: made ready by `prepare`.
        folder: holds journal.jsonl.
        parent_run_id: the sweep's run, or None.

    Returns:
        Whether the server now has everything. An outage or a damaged journal gives False and a
        warning: records must never stop a training.
    """
    try:
        records = Journal(folder).records()
        if not records:
            return True
        with _alone(Path(folder)) as is_alone:
            if not is_alone:
                return False
            _Delivery(connect(store), store.experiment, folder, records, parent_run_id).send()
    except JournalError as error:
        log.error("%s cannot be delivered: %s", folder, error)
        return False
    except outages() as error:
        log.warning("MLflow did not take %s: %s", folder, redact(str(error)).partition("\n")[0])
        return False
    return True


def deliver_all(store: Store, folders: Sequence[Path], parent_run_id: str | None) -> list[bool]:
    """As `deliver` of each; what the server has whole already costs one question for all."""
    try:
        known = _delivered(store)
    except outages():
        # A server that hangs would take its time for every journal: one says whether it answers.
        if not folders or not deliver(store, folders[0], parent_run_id):
            return [False] * len(folders)
        known = {}
    return [
        _has_arrived(folder, known) or deliver(store, folder, parent_run_id) for folder in folders
    ]


def _delivered(store: Store) -> dict[str, tuple[str, str]]:
    """Of every run of the sweep: run_key -> the tag `delivered` and the status."""
    query = f"tags.kind = 'trial' and tags.sweep = '{store.experiment}'"
    found: dict[str, tuple[str, str]] = {}
    for run in all_runs(store, query):
        tags = run.data.tags
        # Oldest first: of two runs with one key, the one that a delivery finds.
        found.setdefault(tags.get("run_key", ""), (tags.get("delivered", ""), run.info.status))
    return found


def _has_arrived(folder: Path, known: dict[str, tuple[str, str]]) -> bool:
    try:
        records = Journal(folder).records()
    except JournalError:
        return False
    key = records[0].get("run_key") if records else None
    return key is not None and known.get(key) == (str(len(records)), _status(records)[0])


class _Delivery:
    """One journal on its way to one run."""

    def __init__(
        self,
        client: MlflowClient,
        experiment: str,
        folder: Path,
        records: list[dict[str, Any]],
        parent_run_id: str | None,
    ) -> None:
        self.client = client
        self.folder = Path(folder)
        self.records = records
        self.start = records[0]
        self.tags: dict[str, Any] = {}  # of the last request
        if self.start["kind"] != "start":
            raise JournalError("the first record of a journal must be its start")
        self.run = _find_or_create(client, experiment, self.start, parent_run_id)
        self.run_id = self.run.info.run_id

    def send(self) -> None:
        done = int(self.run.data.tags.get("delivered", 0))
        status, time = _status(self.records)
        if done < len(self.records):
            if self.run.info.status != "RUNNING":  # a trial that died goes on
                self.client.update_run(self.run_id, "RUNNING")
            if done == 0:
                self._send_start()
            for record in self.records[done:]:
                if record["kind"] == "end":
                    self._send_end(record)
                if record.get("samples"):
                    self._send_samples(record)
            self._send_failure()
            # Last, because its tag says that everything before it has arrived.
            self._send_metrics(done)
        elif self.run.info.status == status:
            return
        if status != "RUNNING":
            self.client.set_terminated(self.run_id, status, end_time=time)

    def _send_start(self) -> None:
        from mlflow.entities import Param, RunTag

        params = [Param(key, value) for key, value in run_params(self.start).items()]
        tags = [RunTag(key, value) for key, value in run_tags(self.start).items()]
        self.client.log_batch(self.run_id, params=params, tags=tags)  # splits by itself

    def _send_metrics(self, done: int) -> None:
        """All points of the records from `done` on in few requests, the tags in the last."""
        from mlflow.entities import Metric, RunTag

        points = [Metric(*point) for point in _points(self.records, done)]
        while len(points) > _BATCH:
            self.client.log_batch(self.run_id, metrics=points[:_BATCH])
            points = points[_BATCH:]
        # The server stores a request's metrics before its tags.
        tags = {**self.tags, "delivered": len(self.records)}
        entries = [RunTag(key, text(value)) for key, value in tags.items()]
        self.client.log_batch(self.run_id, metrics=points, tags=entries)

    def _send_failure(self) -> None:
        last = self.records[-1]
        if last["kind"] == "stopped":
            self.tags["stopped_early"] = f"after {last.get('tasks_learned')} tasks"
        if last["kind"] == "failed":
            self.tags["failure"] = last.get("reason")
        elif "failure" in self.run.data.tags:
            self.client.delete_tag(self.run_id, "failure")

    def _send_end(self, record: dict[str, Any]) -> None:
        from sweeps.tracking.pictures import PICTURE_KEY, accuracy_markdown, accuracy_picture

        self.tags |= {f"versions/{k}": v for k, v in (record.get("versions") or {}).items()}
        self._send_dataset(record)
        accuracy = record.get("accuracy") or {}
        if not accuracy:
            return
        picture = accuracy_picture(accuracy, title=_title(self.start))
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "accuracy.json").write_text(json.dumps(accuracy, indent=2))
            (folder / "accuracy.md").write_text(accuracy_markdown(accuracy))
            picture.save(folder / f"{PICTURE_KEY}.png")
            self.client.log_artifacts(self.run_id, name)
        self._send_thumbnails(record)

    def _send_thumbnails(self, record: dict[str, Any]) -> None:
        from sweeps.tracking.pictures import accuracy_thumbnails

        scenario = run_params(self.start).get("scenario", "")
        for key, picture in accuracy_thumbnails(record["accuracy"], scenario).items():
            # Step 0: the UI's image grid opens there and cannot leave it for one other step.
            self._send_once(key, picture, 0, record)

    def _send_once(self, key: str, picture: Image, step: int, record: dict[str, Any]) -> None:
        """log_image with a key names its file anew each time, so it must not be repeated."""
        files = [file.path for file in self.client.list_artifacts(self.run_id, "images")]
        if not any(re.search(rf"/{key}\+step\+{step}\+.*\.webp$", path) for path in files):
            self.client.log_image(
                self.run_id, picture, key=key, step=step, timestamp=_millis(record)
            )
        self.tags["mlflow.loggedImages"] = True

    def _send_samples(self, record: dict[str, Any]) -> None:
        """The replay model's picture; the UI's slider then goes from task to task."""
        from PIL import Image as images

        path = self.folder / record["samples"]
        if path.is_file():
            self._send_once("replay_samples", images.open(path), record["tasks_learned"], record)

    def _send_dataset(self, record: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        digest = record.get("data_digest") or run_tags(self.start).get("data_digest")
        if not digest:
            return
        params = run_params(self.start)
        name = params.get("benchmark/name", "data")
        source = {k: v for k, v in params.items() if k.startswith("benchmark/")}
        dataset = Dataset(name, str(digest)[:36], "hcl", text(source))
        tags = [InputTag("mlflow.data.context", "training and evaluation")]
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])


def _find_or_create(
    client: MlflowClient, experiment: str, start: dict[str, Any], parent_run_id: str | None
) -> Run:
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise FileNotFoundError(f"there is no MLflow experiment {experiment!r}; prepare it first")
    run_key = start["run_key"]
    query = f"tags.run_key = '{run_key}'"
    # Should a request have been doubled on its way, the oldest run is the one that counts.
    runs = client.search_runs([found.experiment_id], query, order_by=["start_time ASC"])
    if runs:
        return runs[0]
    tags = {"run_key": run_key, "kind": "trial"}
    if parent_run_id is not None:
        tags["mlflow.parentRunId"] = parent_run_id
    name = run_key.partition("/")[2] or run_key
    return client.create_run(found.experiment_id, _millis(start), tags, run_name=name)


def _points(records: list[dict[str, Any]], done: int) -> Iterator[tuple[str, float, int, int]]:
    """(key, value, time, step) of the records from `done` on.

    A task that is reported again after a kill gives no second points: the first report counts.
    """
    num_tasks = int(records[0].get("params", {}).get("benchmark/num_tasks", 0))
    last: dict[str, float] = {}
    learned = 0
    for index, record in enumerate(records):
        metrics: dict[str, float] = {}
        if record["kind"] == "task" and record["tasks_learned"] > learned:
            learned = record["tasks_learned"]
            metrics = task_metrics(record, num_tasks)
        elif record["kind"] == "end":
            metrics = final_metrics(record, last)
        last.update(metrics)
        if index >= done:
            for key, value in metrics.items():
                yield key, value, _millis(record), learned


def _title(start: dict[str, Any]) -> str:
    tags = run_tags(start)
    what = [tags.get("benchmark", ""), tags.get("method", ""), start["run_key"]]
    return "  ".join(part for part in what if part)


def _status(records: list[dict[str, Any]]) -> tuple[str, int | None]:
    """The run's MLflow status by its last record, and when it ended."""
    last = records[-1]
    if last["kind"] == "end":
        return last.get("status", "FINISHED"), _millis(last)
    if last["kind"] in ("failed", "stopped"):
        return last.get("status", "FAILED"), _millis(last)
    return "RUNNING", None


def _millis(record: dict[str, Any]) -> int:
    return int(1000 * record["time"])


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other process delivers this journal: two at once could create two runs."""
    with open(folder / ".deliver.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
