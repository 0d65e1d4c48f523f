"""How a sweep and its trials ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from sweeps.study.searcher import OptunaSearch


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

    from sweeps.study.study import is_refused

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
