"""The searcher that Ray asks for trials: the study in the database is the source of truth.

Ray only asks for trials and reports how they went; everything is keyed by Optuna's trial number.
All trials are read once, at the start: afterwards an event costs the same however many there are.

Ray's own OptunaSearch crashes when it is restored with a database study, leaves NaN trials
RUNNING for ever, and completes trials that were stopped early with a value that was easy to
reach. This searcher replaces it.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState
from ray.tune.search import Searcher

from hcl.config import ConfigError, TrialConfig
from sweeps.records.report_keys import FAILURE, NUM_TASKS, OBJECTIVE, TASKS_LEARNED, VALUES
from sweeps.records.trial_ends import DEATHS
from sweeps.space.search_space import SearchSpace
from sweeps.study.samplers import make_sampler
from sweeps.study.storage import requeue
from sweeps.study.study import is_refused, open_study


class OptunaSearch(Searcher):
    """Hands out the trials of a study: first those to take up again, then new ones.

    A trial is taken up again when a killed driver left it RUNNING, or when it failed and was
    queued for another try. It keeps its number and its values.

    Args:
        space: what is searched.
        name: name of the study.
        storage_url: database of the study.
        explain: says why the trial of this number ended with an error, None if nobody knows.
        ratio: compression ratio of a configuration, where the space bounds it.

    Attributes:
        refused: numbers of the trials that were above the bound, earlier starts included.
        spent: says how many core-hours the trials took so far, where the space bounds them.
        on_broken: ends Ray's run when the study takes no more; None = the error is raised.
        error: the study's, where `on_broken` was called for it.
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
        self.spent: Callable[[], float] = lambda: 0.0
        self.study = open_study(space, name, storage_url)
        trials = self.study.get_trials(deepcopy=False)
        self.refused = [t.number for t in trials if is_refused(t)]
        begun = [trial for trial in trials if not _is_new(trial)]
        self._num_begun = len(begun)
        self._to_take_up = {
            t.number: set(t.intermediate_values) for t in begun if not t.state.is_finished()
        }
        requeue(storage_url, name, [t.number for t in begun if t.state == TrialState.RUNNING])
        self.on_broken: Callable[[], None] | None = None
        self.error: Exception | None = None
        self._live: dict[str, Trial] = {}  # handed out and not ended yet
        self._reported: dict[str, set[int]] = {}  # tasks whose values the study has

    def remaining(self) -> int:
        """Count the trials that this searcher will still hand out."""
        new = 0 if self._is_spent() else max(0, self.space.sweep.num_trials - self._num_begun)
        return len(self._to_take_up) + new

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next trial as `{"number": 7, "params": {...}}`, FINISHED after the last."""
        while (next_trial := self._next_trial()) is not None:
            trial, reported = next_trial
            try:
                config = self.space.trial_config(trial.params, seed=self.space.sweep.seeds[0])
            except ConfigError as error:
                # Each value is in its range, but together they make no valid trial.
                self._fail(trial, "; ".join(error.errors))
                continue
            if self._refuse(trial, config):
                continue
            trial.set_user_attr("ray_trial_id", trial_id)
            trial.set_user_attr("config_id", config.digest(without_seed=True))
            self._live[trial_id] = trial
            self._reported[trial_id] = reported
            return {"number": trial.number, "params": trial.params}
        return Searcher.FINISHED  # type: ignore[return-value]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Store the objective after a learned task as an intermediate value.

        Optuna stores no intermediate values for several objectives.
        """
        if len(self.space.sweep.objectives) > 1:
            return
        trial, step = self._live.get(trial_id), result.get(TASKS_LEARNED)
        if trial is None or step is None or FAILURE in result:
            return
        value = _finite(result.get(OBJECTIVE))
        if value is not None and step not in self._reported[trial_id]:
            with self._study_errors():
                trial.report(value, step)
                self._reported[trial_id].add(step)

    def should_stop(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Ask the study's pruner whether to give the trial up after this task.

        The study has the answer before Ray: a driver that is killed now finds the trial PRUNED
        and never hands it out again.
        """
        self.on_trial_result(trial_id, result)
        trial, step = self._live.get(trial_id), result.get(TASKS_LEARNED)
        if trial is None or step is None or step >= result[NUM_TASKS] or FAILURE in result:
            return False
        if self.space.sweep.early_stopping == "none":
            return False
        with self._study_errors():
            if step == max(self._reported[trial_id], default=0) and trial.should_prune():
                self._end_pruned(trial)
                self._forget(trial_id)
                return True
        return False

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Write into the study how the trial ended. Later calls change nothing."""
        trial = self._live.get(trial_id)
        if trial is None:
            return
        with self._study_errors():
            self._end(trial, trial_id, result, error)
            self._forget(trial_id)

    def put_back(self, trial_id: str) -> None:
        """Take back a trial that Ray gives up although it may still be run: `suggest` gives it."""
        trial = self._live.get(trial_id)
        if trial is not None:
            self._to_take_up[trial.number] = self._reported[trial_id]
            requeue(self.storage_url, self.name, [trial.number])
            self._forget(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study is in its database."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: a sweep is resumed from its study, never from Ray's pickles."""
        raise NotImplementedError("resume a sweep with `hcl sweep --resume`")

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles its Tuner to disk; a database connection cannot go with it.
        gone = dict.fromkeys(("study", "spent", "on_broken", "error"))
        return {**self.__dict__, **gone, "_live": {}}

    def _end(
        self, trial: Trial, trial_id: str, result: dict[str, Any] | None, error: bool
    ) -> None:
        if error:
            self._fail(trial, self.explain(trial.number) or f"its process died ({DEATHS})")
        elif not result or TASKS_LEARNED not in result:
            self._fail(trial, "it ended without a result")
        elif FAILURE in result:
            self._fail(trial, result[FAILURE])
        elif result[TASKS_LEARNED] < result[NUM_TASKS]:
            # Accuracy falls as tasks arrive: a trial stopped early looks better than it is.
            self.on_trial_result(trial_id, result)
            self._end_pruned(trial)
        else:
            self.on_trial_result(trial_id, result)
            self._end_with(trial, result.get(VALUES, [result.get(OBJECTIVE)]))

    @contextmanager
    def _study_errors(self) -> Iterator[None]:
        """Keep an error of the study, which Ray would take for one of the trial and try again."""
        try:
            yield
        except Exception as error:
            if self.on_broken is None:
                raise
            self.error = self.error or error
            self.on_broken()

    def _next_trial(self) -> tuple[Trial, set[int]] | None:
        """Begin or take up a trial; with it come the tasks whose values the study has."""
        reported: set[int] = set()
        if self._to_take_up:
            number = min(self._to_take_up)  # `ask` hands out waiting trials by number
            reported = self._to_take_up.pop(number)
        elif self._num_begun < self.space.sweep.num_trials and not self._is_spent():
            number = self._num_begun
            self._num_begun += 1
        else:
            return None
        self.study.sampler = make_sampler(self.space, number)
        return self._choose(self.study.ask()), reported

    def _is_spent(self) -> bool:
        bound = self.space.sweep.core_hours
        return bool(bound) and self.spent() >= bound

    def _choose(self, trial: Trial) -> Trial:
        """Give the trial its values, each after those that decide whether it is searched.

        Values that the study already has come back; only what is missing is sampled.
        """
        for key, distribution in self.space.distributions().items():
            if self.space.conditions.holds(key, trial.params):
                if self.space.sweep.sampler != "grid":  # which chooses all of them together
                    self.study.sampler = make_sampler(self.space, trial.number, key)
                _suggest(trial, key, distribution)
        return trial

    def _refuse(self, trial: Trial, config: TrialConfig) -> bool:
        """Prune the trial if it is above the bound; samplers then learn to avoid its like."""
        bound = self.space.sweep.max_compression_ratio
        if not bound or self.ratio is None:
            return False
        ratio = self.ratio(config)
        if not trial.constraints:  # a killed driver may have set it
            trial.set_constraint("compression_ratio", ratio - bound)
        if ratio <= bound:
            return False
        reason = f"its compression ratio {ratio:.4g} is above {bound:g}"
        trial.set_user_attr("refused", reason)
        self._end_pruned(trial)
        self.refused.append(trial.number)
        return True

    def _end_with(self, trial: Trial, values: list[Any]) -> None:
        wrong = [value for value in values if _finite(value) is None]
        if wrong:
            self._fail(trial, f"its objective is {wrong[0]}")
        else:
            self.study.tell(trial.number, values, skip_if_finished=True)

    def _end_pruned(self, trial: Trial) -> None:
        self.study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)

    def _fail(self, trial: Trial, reason: str) -> None:
        trial.set_user_attr("reason", reason)
        self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _forget(self, trial_id: str) -> None:
        del self._live[trial_id], self._reported[trial_id]


def _is_new(trial: FrozenTrial) -> bool:
    """Say whether a trial is a point to evaluate that no driver has begun."""
    is_point = trial.state == TrialState.WAITING and "point" in trial.user_attrs
    return is_point and not trial.params


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
