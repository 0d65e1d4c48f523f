"""Outcome of a sweep and ends of its trials, as the study knows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweeps.study.searcher import OptunaSearch
from sweeps.study.study import is_refused


@dataclass(frozen=True)
class Outcome:
    """Outcome of a sweep.

    Attributes:
        status: "FINISHED" or "KILLED" (interrupted).
        best: completed trials, best first; with several objectives the Pareto front.
        failed: trial number -> reason.
        num_trials: trials that ended, one way or another.
        undelivered: seeds whose records MLflow has not completely.
        stopped: trials that were given up early.
        refused: trials above the bound on compression, which were not trained.
        is_time_up: whether a time limit interrupted it.
    """

    status: str
    best: list[dict[str, Any]]
    failed: dict[int, str]
    num_trials: int
    undelivered: int
    stopped: int = 0
    refused: int = 0
    is_time_up: bool = False

    @property
    def exit_code(self) -> int:
        """0 ok, 1 some trials failed, 4 a time limit was over, 130 interrupted."""
        if self.status == "KILLED":
            return 4 if self.is_time_up else 130
        return 1 if self.failed else 0


@dataclass(frozen=True)
class TrialEnds:
    """Ends of a study's trials.

    Attributes:
        best: completed trials (number, value, values, params), best first; with several
            objectives the Pareto front alone.
        done: number -> values of every completed trial.
        stopped: numbers of the trials given up early.
        refused: numbers of the trials above the bound on compression.
        failed: number -> reason.
    """

    best: list[dict[str, Any]]
    done: dict[int, tuple[float, ...]]
    stopped: list[int]
    refused: list[int]
    failed: dict[int, str]


def trial_ends(search: OptunaSearch) -> TrialEnds:
    """Read from the study how the trials ended."""
    trials = search.study.get_trials(deepcopy=False)
    best = best_trials(search.study, search.space.sweep.modes)
    refused = [t.number for t in trials if is_refused(t)]
    pruned = [t.number for t in trials if t.state == TrialState.PRUNED]
    return TrialEnds(
        best=[
            {"number": t.number, "value": t.values[0], "values": t.values, "params": t.params}
            for t in best
        ],
        done={
            t.number: tuple(t.values)
            for t in trials
            if t.state == TrialState.COMPLETE and t.values
        },
        stopped=[number for number in pruned if number not in refused],
        refused=refused,
        failed={
            t.number: str(t.user_attrs.get("reason", "unknown"))
            for t in trials
            if t.state == TrialState.FAIL
        },
    )


def best_trials(study: Study, modes: Sequence[str]) -> list[FrozenTrial]:
    """Return completed trials, best first; with several objectives the Pareto front alone."""
    if len(modes) > 1:
        best = study.best_trials
    else:
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = [trial for trial in trials if trial.values]
    return sorted(best, key=lambda t: t.values[0], reverse=modes[0] == "max")
