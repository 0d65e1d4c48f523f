"""The search: an Optuna study in a database is its truth, Ray only asks and tells.

Everything is keyed by Optuna's trial number. All trials are read at the start alone: afterwards
an event costs the same however many there were. Ray's own OptunaSearch crashes when it is restored
with a database study, leaves NaN trials RUNNING for ever, and tells trials that were stopped
early as COMPLETE with a value that was easy to reach; hence this one.
"""

import math
from collections.abc import Callable
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from hcl.config import ConfigError, TrialConfig
from sweeps.records.report_keys import FAILURE, NUM_TASKS, OBJECTIVE, TASKS_LEARNED, VALUES
from sweeps.space.search_space import SearchSpace
from sweeps.study.samplers import make_sampler
from sweeps.study.study import is_refused, open_study


class OptunaSearch(Searcher):
    """Hands out the trials of a study: first those a killed driver left RUNNING, then new ones.

    Args:
        space: what is searched.
        name: of the study.
        storage_url: database of the study.
        explain: says why the trial of a number ended with an error, if anyone knows.
        ratio: compression ratio of a configuration, where the space bounds it.

    Attributes:
        refused: numbers of the trials that were above the bound, earlier starts included.
    """

    def __init__(
        self,
        space: SearchSpace,
        name: str,
        storage_url: str,
        explain: Callable[[int], str | None] = lambda number: None,
        ratio: Callable[[TrialConfig], float] | None = None,
    ) -> None:
        super().__init__(metric=OBJECTIVE, mode=space.sweep.modes[0])
        self.space, self.name, self.storage_url, self.explain = space, name, storage_url, explain
        self.ratio = ratio
        self.study = open_study(space, name, storage_url)
        trials = self.study.get_trials(deepcopy=False)
        self.refused = [t.number for t in trials if is_refused(t)]
        self._leftover = [t for t in trials if t.state == TrialState.RUNNING]
        self._num_started = sum(trial.state != TrialState.WAITING for trial in trials)
        self._live: dict[str, Trial] = {}  # handed out and not told yet
        self._reported: dict[str, set[int]] = {}

    def remaining(self) -> int:
        """Trials that this searcher will still hand out."""
        return len(self._leftover) + max(0, self.space.sweep.num_trials - self._num_started)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Next trial as `{"number": 7, "params": {...}}`; FINISHED when there is none."""
        while (trial := self._next_trial()) is not None:
            try:
                config = self.space.trial_config(trial.params, seed=self.space.sweep.seeds[0])
            except ConfigError as error:
                # Each value is in its range but together they are no trial.
                self._fail(trial, "; ".join(error.errors))
                continue
            if self._refuse(trial, config):
                continue
            trial.set_user_attr("ray_trial_id", trial_id)
            trial.set_user_attr("config_id", config.digest(without_seed=True))
            self._live[trial_id] = trial
            self._reported[trial_id] = set(self._stored(trial).intermediate_values)
            return {"number": trial.number, "params": trial.params}
        return Searcher.FINISHED  # type: ignore[return-value]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep the objective after each learned task as an intermediate value.

        Optuna has none for several objectives.
        """
        if len(self.space.sweep.objectives) > 1:
            return
        trial, step = self._live.get(trial_id), result.get(TASKS_LEARNED)
        if trial is None or step is None or FAILURE in result:
            return
        value = _finite(result.get(OBJECTIVE))
        if value is not None and step not in self._reported[trial_id]:
            self._reported[trial_id].add(step)
            trial.report(value, step)

    def should_stop(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the study's pruner gives the trial up after this task; it is told at once.

        A driver that is killed now finds it PRUNED and never hands it out again.
        """
        self.on_trial_result(trial_id, result)
        trial, step = self._live.get(trial_id), result.get(TASKS_LEARNED)
        if trial is None or step is None or step >= result[NUM_TASKS] or FAILURE in result:
            return False
        if self.space.sweep.early_stopping == "none":
            return False
        stored = self._stored(trial)
        if stored.last_step != step or not self.study.pruner.prune(self.study, stored):
            return False
        self._tell_pruned(trial)
        self._forget(trial_id)
        return True

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how the trial ended, once; later tells change nothing."""
        trial = self._live.get(trial_id)
        if trial is None:
            return
        if error:
            died = "its process died (killed, out of memory or a lost node)"
            self._fail(trial, self.explain(trial.number) or died)
        elif not result or TASKS_LEARNED not in result:
            self._fail(trial, "it ended without a result")
        elif FAILURE in result:
            self._fail(trial, result[FAILURE])
        elif result[TASKS_LEARNED] < result[NUM_TASKS]:
            # Accuracy falls as tasks arrive: a trial stopped early looks better than it is.
            self.on_trial_result(trial_id, result)
            self._tell_pruned(trial)
        else:
            self.on_trial_result(trial_id, result)
            self._tell_values(trial, result.get(VALUES, [result.get(OBJECTIVE)]))
        self._forget(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is in its database."""

    def restore(self, checkpoint_path: str) -> None:
        """Refused: a sweep is resumed from its study, never from Ray's pickles."""
        raise NotImplementedError("resume a sweep with `hcl sweep --resume`")

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles its Tuner to disk; a database connection cannot go with it.
        return {**self.__dict__, "study": None, "_live": {}}

    def _next_trial(self) -> Trial | None:
        if self._leftover:
            return self._take_up(self._leftover.pop(0))
        number = self._num_started
        if number >= self.space.sweep.num_trials:
            return None
        self.study.sampler = make_sampler(self.space, number)
        asked = self.study.ask()
        self._num_started += 1
        return self._choose(asked)

    def _take_up(self, left: FrozenTrial) -> Trial:
        """A trial that was being run when the driver died, with the same values."""
        self.study.sampler = make_sampler(self.space, left.number)
        # The stored values come back; only what the kill left out is sampled.
        return self._choose(Trial(self.study, left._trial_id))

    def _choose(self, trial: Trial) -> Trial:
        """Give the trial its values, each after those that decide whether it is searched."""
        for key, distribution in self.space.distributions().items():
            if self.space.conditions.holds(key, trial.params):
                _suggest(trial, key, distribution)
        return trial

    def _refuse(self, trial: Trial, config: TrialConfig) -> bool:
        """Whether the trial is above the bound; PRUNED, so that samplers learn to avoid it."""
        bound = self.space.sweep.max_compression_ratio
        if not bound or self.ratio is None:
            return False
        ratio = self.ratio(config)
        if not self._stored(trial).constraints:  # a killed driver may have set it
            trial.set_constraint("compression_ratio", ratio - bound)
        if ratio <= bound:
            return False
        reason = f"its compression ratio {ratio:.4g} is above {bound:g}"
        trial.set_user_attr("refused", reason)
        self._tell_pruned(trial)
        self.refused.append(trial.number)
        return True

    def _tell_values(self, trial: Trial, values: list[Any]) -> None:
        wrong = [value for value in values if _finite(value) is None]
        if wrong:
            self._fail(trial, f"its objective is {wrong[0]}")
        else:
            self.study.tell(trial.number, values, skip_if_finished=True)

    def _tell_pruned(self, trial: Trial) -> None:
        self.study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)

    def _fail(self, trial: Trial, reason: str) -> None:
        trial.set_user_attr("reason", reason)
        self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _forget(self, trial_id: str) -> None:
        del self._live[trial_id], self._reported[trial_id]

    def _stored(self, trial: Trial) -> FrozenTrial:
        """This trial alone, from the database."""
        return trial.storage.get_trial(trial._trial_id)


def _suggest(trial: Trial, key: str, distribution: BaseDistribution) -> None:
    if isinstance(distribution, FloatDistribution):
        low, high = distribution.low, distribution.high
        trial.suggest_float(key, low, high, step=distribution.step, log=distribution.log)
    elif isinstance(distribution, IntDistribution):
        start, end = distribution.low, distribution.high
        trial.suggest_int(key, start, end, step=distribution.step, log=distribution.log)
    elif isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(key, distribution.choices)


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


class TaskBoundaryScheduler(FIFOScheduler):
    """Asks the study's pruner after each task; Ray then stops the trial, which waits meanwhile.

    Args:
        search: owns the study.
        stopped: told the number of a stopped trial.
    """

    def __init__(self, search: "OptunaSearch", stopped: Callable[[int], None]) -> None:
        super().__init__()
        self.search, self.stopped = search, stopped

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """A task was learned."""
        if not self.search.should_stop(trial.trial_id, result):
            return TrialScheduler.CONTINUE
        self.stopped(trial.config["number"])
        return TrialScheduler.STOP

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles its scheduler to disk; a study cannot go with it, and is never restored so.
        return {}
