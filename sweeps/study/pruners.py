"""Rules that stop a trial at a task boundary because the study's other trials are better.

Trials are compared after equal numbers of learned tasks, and only after `grace_tasks`: a trial
that is quick on early tasks may forget later.
"""

import statistics

from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from sweeps.space.settings import SweepSettings

HALVING = 2  # about half of the trials at a rung go on; sequences are short, so rungs are few
FEWEST = 4  # other trials at the same task, below which a median says nothing


def make_pruner(sweep: SweepSettings) -> BasePruner:
    """Make the study's pruner; its steps are learned tasks."""
    if sweep.early_stopping == "asha":
        return SuccessiveHalvingPruner(min_resource=sweep.grace_tasks, reduction_factor=HALVING)
    if sweep.early_stopping == "median":
        return MedianRule(sweep.grace_tasks)
    return NopPruner()


class MedianRule(BasePruner):
    """Stops a trial that is worse than the median of the others after as many tasks.

    Optuna's MedianPruner takes a trial's best value over all its steps. Accuracy falls as tasks
    arrive, so the best value is the one after the first task, and no trial would be stopped.

    Args:
        grace_tasks: number of tasks that every trial learns before it may be stopped.
    """

    def __init__(self, grace_tasks: int) -> None:
        self.grace_tasks = grace_tasks

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Say whether to stop `trial` after its last reported task."""
        step = trial.last_step
        if step is None or step < self.grace_tasks:
            return False
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        values = [t.intermediate_values[step] for t in others if step in t.intermediate_values]
        if len(values) < FEWEST:
            return False
        mine, median = trial.intermediate_values[step], statistics.median(values)
        is_maximized = study.direction == StudyDirection.MAXIMIZE
        return mine < median if is_maximized else mine > median
