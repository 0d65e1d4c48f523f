"""The ends of trials: read from their journals, and written there for trials that could not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.records.record import ENDS

DEATHS = "killed, out of memory or a lost node"


def note_death(folder: SweepFolder, number: int, reason: str) -> None:
    """Write the end that a killed process could not write, so that no run stays RUNNING."""
    for path in seed_folders(folder, number):
        records = readable_records(path)
        if records and records[-1]["kind"] not in ENDS:
            Journal(path).append("failed", reason=reason, status="FAILED", again=True)


def note_stop(folder: SweepFolder, number: int) -> list[Path]:
    """Write the end of a trial that was stopped early: its process is not notified.

    Returns:
        Folders of the seeds that had begun.
    """
    paths = seed_folders(folder, number)
    for path in paths:
        records = readable_records(path)
        if records and records[-1]["kind"] not in ENDS:
            learned = max([0, *(r["tasks_learned"] for r in records if r["kind"] == "task")])
            Journal(path).append("stopped", tasks_learned=learned, status="KILLED")
    return paths


def explain(folder: SweepFolder) -> Callable[[int], str | None]:
    """Make a function that says why a trial ended with an error, None if its journals do not.

    The reason is a failure in the journals, or how often the trial's process died.
    """

    def reason(number: int) -> str | None:
        died = 0
        for path in seed_folders(folder, number):
            records = readable_records(path)
            if records and records[-1]["kind"] == "failed":
                return records[-1]["reason"]
            died += _deaths(records)
        return f"its process died {died} times ({DEATHS})" if died > 1 else None

    return reason


def spent_seconds(folder: SweepFolder) -> float:
    """Add up how long the trainings of a sweep took, failed and unfinished ones included."""
    return sum(_seconds(readable_records(path)) for path in folder.journals())


def _seconds(records: list[dict[str, Any]]) -> float:
    """Return how long a training took up to its last record that says so, restarts included."""
    known = [
        record["seconds"] if record["kind"] == "task" else record["metrics"].get("wall_seconds")
        for record in records
        if record["kind"] in ("task", "end")
    ]
    return max((seconds for seconds in known if seconds), default=0.0)


def seed_folders(folder: SweepFolder, number: int) -> list[Path]:
    """List the folders of a trial's seeds that have begun."""
    return sorted(folder.seed_folder(number, 0).parent.glob("seed_*"))


def readable_records(path: Path) -> list[dict[str, Any]]:
    """Read what of a journal is whole: damage costs the damaged lines, not the sweep."""
    return Journal(path).scan()[0]


def _deaths(records: list[dict[str, Any]]) -> int:
    """Count the processes that began after the last end and wrote no end of their own."""
    begun = 0
    for record in records:
        if record["kind"] in ENDS:
            begun = 0
        begun += record["kind"] in ("start", "resume")
    return begun
