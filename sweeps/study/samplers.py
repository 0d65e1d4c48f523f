"""Optuna's samplers by name, seeded so that a resumed sweep goes on like an undisturbed one."""

import itertools
import random
import warnings
import zlib
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from sweeps.space.search_space import SearchSpace


def make_sampler(space: SearchSpace, number: int, key: str = "") -> BaseSampler:
    """Make the sampler of trial `number`, or of one of its values that is chosen by itself.

    Each trial has a generator of its own, and so has each such value: a resumed sweep, whose
    sampler starts anew, must not propose its first trials again but go on as the undisturbed
    sweep would have, even in a trial that has only some of its values. What a sampler learned is
    in the study.

    Args:
        space: what is searched.
        number: the trial's.
        key: the setting; "" for values that are chosen together.
    """
    name, samplers = space.sweep.sampler, optuna.samplers
    if name == "grid":
        return GridSampler(space)
    entropy = [space.sweep.sampler_seed, number] + ([zlib.crc32(key.encode())] if key else [])
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    if name == "nsga2":
        return samplers.NSGAIISampler(seed=seed)
    if name == "tpe":
        return _tpe(seed, has_conditions=bool(space.conditions.when))
    # What these two cannot model (choices, keys that are not in every trial) is random.
    kind = {"cmaes": samplers.CmaEsSampler, "gp": samplers.GPSampler}[name]
    rest = samplers.RandomSampler(seed=seed)
    return kind(seed=seed, independent_sampler=rest, warn_independent_sampling=False)


def _tpe(seed: int, has_conditions: bool) -> BaseSampler:
    """Make a TPE sampler; without `group` it models only the keys that are in every trial."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, group=has_conditions
        )


class GridSampler(BaseSampler):
    """Tries every combination once, in an order drawn from `sampler_seed`.

    Optuna's own grid counts only trials that it chose itself, so it would try points to evaluate
    again, and its order changes with the seed, which here differs from trial to trial.

    Args:
        space: what is searched; every range has a step.
    """

    def __init__(self, space: SearchSpace) -> None:
        grid = space.grid()
        self.keys, self.distributions = list(grid), space.distributions()
        self.points = space.stored_points()
        self.combinations = list(itertools.product(*grid.values()))
        random.Random(space.sweep.sampler_seed).shuffle(self.combinations)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Choose all keys together."""
        return self.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Find the first combination that no other trial has and that keeps given values."""
        point = trial.user_attrs.get("point")
        given = {**({} if point is None else self.points[point]), **trial.params}
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        tried = {tuple(t.params.get(key) for key in self.keys) for t in others}
        named = [dict(zip(self.keys, values, strict=True)) for values in self.combinations]
        fitting = [c for c in named if all(c[key] == value for key, value in given.items())]
        fresh = (c for c in fitting if tuple(c.values()) not in tried)
        return next(fresh, fitting[0] if fitting else {})

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Refuse: `sample_relative` covers every key."""
        raise ValueError(f"{param_name} is not in the grid")
