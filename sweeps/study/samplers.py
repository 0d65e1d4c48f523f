"""Optuna's samplers by name, seeded so that a resumed sweep goes on as an undisturbed one."""

import itertools
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from sweeps.space.search_space import SearchSpace


def make_sampler(space: SearchSpace, number: int) -> BaseSampler:
    """The sampler of trial `number`.

    One generator per trial: a resumed sweep, whose sampler starts anew, must not propose its
    first trials again, and goes on as the undisturbed sweep would have. What a sampler learned
    is in the study.
    """
    name, samplers = space.sweep.sampler, optuna.samplers
    if name == "grid":
        return GridSampler(space.grid(), space.distributions(), space.sweep.sampler_seed)
    seed = int(np.random.SeedSequence([space.sweep.sampler_seed, number]).generate_state(1)[0])
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    if name == "nsga2":
        return samplers.NSGAIISampler(seed=seed)
    if name == "tpe":
        return _tpe(seed, has_conditions=bool(space.conditions.when))
    # What these two cannot model (categories, keys that are not in every trial) is random.
    kind = {"cmaes": samplers.CmaEsSampler, "gp": samplers.GPSampler}[name]
    rest = samplers.RandomSampler(seed=seed)
    return kind(seed=seed, independent_sampler=rest, warn_independent_sampling=False)


def _tpe(seed: int, has_conditions: bool) -> BaseSampler:
    """Without `group`, the joint model has only the keys that are in every trial."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, group=has_conditions
        )


class GridSampler(BaseSampler):
    """Every combination once, in an order drawn from the seed.

    Optuna's own counts only trials that it chose itself, so points to evaluate would be tried
    again, and its order changes with its seed.

    Args:
        grid: values of each searched key, as Optuna keeps them.
        distributions: of the same keys.
        seed: of the order.
    """

    def __init__(
        self,
        grid: Mapping[str, Sequence[Any]],
        distributions: dict[str, BaseDistribution],
        seed: int,
    ) -> None:
        self.keys, self.distributions = list(grid), distributions
        self.combinations = list(itertools.product(*grid.values()))
        random.Random(seed).shuffle(self.combinations)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All keys are chosen together."""
        return self.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The first combination that agrees with what is given and no other trial has."""
        given = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
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
        """Never asked: `sample_relative` covers every key."""
        raise ValueError(f"{param_name} is not in the grid")
