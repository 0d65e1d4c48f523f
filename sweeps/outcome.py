"""How a sweep and its trials ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.folder import SweepFolder
from sweeps.journal import Journal, JournalError

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from sweeps.search import OptunaSearch


ENDS = ("end", "failed", "stopped")  # kinds of a journal's last record
DEATHS = "killed, out of memory or a lost node"


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended.

    Attributes:
        status: "FINISHED" or "KILLED" (interrupted).
        best: completed trials, best first; of several objectives the Pareto front.
        failed: trial number -> reason.
        num_trials: trials that ended, one way or another.
        undelivered: seeds of which MLflow has not everything.
        stopped: trials that were given up early.
        refused: trials above the bound of compression, which were not trained.
    """

    status: str
    best: list[dict[str, Any]]
    failed: dict[int, str]
    num_trials: int
    undelivered: int
    stopped: int = 0
    refused: int = 0

    @property
    def exit_code(self) -> int:
        """0 ok, 1 some trials failed, 130 interrupted."""
        if self.status == "KILLED":
            return 130
        return 1 if self.failed else 0


def finished_trials(search: "OptunaSearch") -> dict[str, Any]:
    """How the trials ended.

    Returns:
        "best": completed trials, best first; of several objectives the Pareto front alone.
        "done": number and values of all completed ones. "stopped", "refused": numbers.
        "failed": number and reason.
    """
    from optuna.trial import TrialState

    from sweeps.study import is_refused

    trials = search.study.get_trials(deepcopy=False)
    complete = [t for t in trials if t.state == TrialState.COMPLETE and t.values]
    modes = search.space.sweep.modes
    best = best_trials(search.study, modes)
    return {
        "best": [
            {"number": t.number, "value": t.values[0], "values": t.values, "params": t.params}
            for t in best
        ],
        "done": {t.number: tuple(t.values) for t in complete},
        "stopped": [
            t.number for t in trials if t.state == TrialState.PRUNED and not is_refused(t)
        ],
        "refused": [t.number for t in trials if is_refused(t)],
        "failed": {
            t.number: str(t.user_attrs.get("reason", "unknown"))
            for t in trials
            if t.state == TrialState.FAIL
        },
    }


def best_trials(study: "Study", modes: Sequence[str]) -> list["FrozenTrial"]:
    """Completed trials, best first; of several objectives the Pareto front alone."""
    from optuna.trial import TrialState

    if len(modes) > 1:
        best = study.best_trials
    else:
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = [trial for trial in trials if trial.values]
    return sorted(best, key=lambda t: t.values[0], reverse=modes[0] == "max")


def note_death(folder: SweepFolder, number: int, reason: str) -> None:
    """A killed process could not write its end; the driver does, so that no run stays RUNNING."""
    for path in seed_folders(folder, number):
        records = readable_records(path)
        if records and records[-1]["kind"] not in ENDS:
            Journal(path).append("failed", reason=reason, status="FAILED", again=True)


def note_stop(folder: SweepFolder, number: int) -> list[Path]:
    """A trial that is stopped early learns nothing of it: the driver writes its journal's end.

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
    """Why a trial ended with an error: a failure that its journals hold, or how often it died."""

    def reason(number: int) -> str | None:
        died = 0
        for path in seed_folders(folder, number):
            records = readable_records(path)
            if records and records[-1]["kind"] == "failed":
                return records[-1]["reason"]
            died += _deaths(records)
        return f"its process died {died} times ({DEATHS})" if died > 1 else None

    return reason


def seed_folders(folder: SweepFolder, number: int) -> list[Path]:
    """Of a trial's seeds that have begun."""
    return sorted(folder.seed_folder(number, 0).parent.glob("seed_*"))


def readable_records(path: Path) -> list[dict[str, Any]]:
    """A journal for the driver: what is wrong with it is the trial's failure, not the sweep's."""
    try:
        return Journal(path).records()
    except JournalError:
        return []


def _deaths(records: list[dict[str, Any]]) -> int:
    """Processes that began after the last end and wrote none of their own."""
    begun = 0
    for record in records:
        if record["kind"] in ENDS:
            begun = 0
        begun += record["kind"] in ("start", "resume")
    return begun
