"""The scheduler that Ray asks after each learned task whether a trial goes on."""

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.study.searcher import OptunaSearch


class TaskBoundaryScheduler(FIFOScheduler):
    """Ray's scheduler that stops a trial after a task when the study's pruner says so.

    The trial waits for the decision.

    Args:
        search: owner of the study.
        stopped: called with the number of each trial that is stopped.
        gave_up_early: says whether the trial of this number, which Ray gives up, is to be handed
            out again.
    """

    def __init__(
        self,
        search: OptunaSearch,
        stopped: Callable[[int], None],
        gave_up_early: Callable[[int], bool],
    ) -> None:
        super().__init__()
        self.search, self.stopped, self.gave_up_early = search, stopped, gave_up_early

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Take back a trial that is given up early; Ray tells the searcher of its end next."""
        if self.gave_up_early(trial.config["number"]):
            self.search.put_back(trial.trial_id)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide after a learned task whether the trial goes on."""
        if not self.search.should_stop(trial.trial_id, result):
            return TrialScheduler.CONTINUE
        self.stopped(trial.config["number"])
        return TrialScheduler.STOP

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles its scheduler to disk; a study cannot go with it, and none is restored.
        return {}
