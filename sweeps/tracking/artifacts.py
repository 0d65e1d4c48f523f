"""A run's files in MLflow: accuracy matrices as data and pictures, samples of a replay model."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from PIL import Image

from sweeps.records.entries import milliseconds, run_params

if TYPE_CHECKING:
    from sweeps.output.plots import Matrix

DPI = 160
PICTURE_KEY = "accuracy_matrix"  # one key for all runs: the UI puts their pictures side by side


class RunArtifacts:
    """The files of one run; sending them again changes nothing.

    Attributes:
        tags: what the run's tags must say about the files sent so far.
    """

    def __init__(
        self, client: MlflowClient, run_id: str, start: dict[str, Any], is_new: bool = False
    ) -> None:
        """Name the run that the files belong to.

        Args:
            client: of the server.
            run_id: the run's.
            start: its journal's first record.
            is_new: it was made a moment ago and has no file, so none is asked for.
        """
        self.client = client
        self.run_id = run_id
        self.start = start
        self.is_new = is_new
        self.tags: dict[str, Any] = {}

    def send_accuracy(self, record: dict[str, Any]) -> None:
        """Send the matrices of an "end" record as JSON, Markdown and one picture each."""
        accuracy = record.get("accuracy") or {}
        if not accuracy:
            return
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "accuracy.json").write_text(json.dumps(accuracy, indent=2))
            (folder / "accuracy.md").write_text(accuracy_markdown(accuracy))
            self.client.log_artifacts(self.run_id, name)
        scenario = run_params(self.start).get("scenario", "")
        for key, picture in accuracy_thumbnails(accuracy, scenario).items():
            # Step 0: the UI's image grid opens there and cannot leave it for one other step.
            self._send_image(key, picture, 0, record)

    def send_samples(self, record: dict[str, Any], folder: Path) -> None:
        """Send what the replay model generated after a task; the UI's slider shows each task."""
        path = folder / record["samples"]
        # A link, or a path of a journal that nobody checked, may lead out of the folder.
        if path.is_file() and path.resolve().parent == folder.resolve():
            step = record["tasks_learned"]
            self._send_image("replay_samples", Image.open(path), step, record)

    def _send_image(
        self, key: str, picture: Image.Image, step: int, record: dict[str, Any]
    ) -> None:
        # Every `log_image` makes a file of a new name, so a second one would be a second picture.
        if self.is_new or not self._has_image(key, step):
            time = milliseconds(record)
            self.client.log_image(self.run_id, picture, key=key, step=step, timestamp=time)
        # `log_image` sets this tag after the file, and an outage can come between the two.
        self.tags["mlflow.loggedImages"] = True

    def _has_image(self, key: str, step: int) -> bool:
        files = [file.path for file in self.client.list_artifacts(self.run_id, "images")]
        return any(re.search(rf"/{key}\+step\+{step}\+.*\.webp$", path) for path in files)


def accuracy_thumbnails(accuracy: dict[str, "Matrix"], scenario: str) -> dict[str, Image.Image]:
    """Draw one matrix per picture for the UI's image grid, which shows 256 x 256 pixels.

    Returns:
        Key -> picture. The scenario that the run was trained in has the key of all runs; another
        one that it was scored in adds its name, as in accuracy_matrix_class.
    """
    from sweeps.output.plots import accuracy_thumbnail, image  # the driver draws none

    pictures = {}
    for name, rows in _tested(accuracy).items():
        tested = name.rpartition("/")[2]
        key = PICTURE_KEY if tested == scenario else f"{PICTURE_KEY}_{tested}"
        pictures[key] = image(accuracy_thumbnail(name, rows), DPI)
    return pictures


def _tested(accuracy: dict[str, "Matrix"]) -> dict[str, "Matrix"]:
    """The matrices on test data, or all of them where nothing was tested."""
    return {k: rows for k, rows in accuracy.items() if k.startswith("test/")} or accuracy


def accuracy_markdown(accuracy: dict[str, "Matrix"]) -> str:
    """Write every matrix as a table in percent: a row per task learned, a column per task."""
    parts = []
    for name, rows in accuracy.items():
        header = ["after task", *(f"task {i}" for i in range(len(rows)))]
        lines = [_line(header), _line(["---", *["---:"] * len(rows)])]
        for task, row in enumerate(rows):
            values = ["-" if value is None else f"{100 * value:.2f}" for value in row]
            lines.append(_line([str(task), *values, *[""] * (len(rows) - len(values))]))
        parts.append(f"## {name} (accuracy in %)\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(entries: list[str]) -> str:
    return "| " + " | ".join(entries) + " |"
