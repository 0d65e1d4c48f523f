"""A search space file: what is fixed, what Optuna chooses, what is tried first, how to sweep.

Read with every mistake of the file in one message. Imports neither Ray nor torch, and Optuna
only when distributions are asked for, so that `hcl validate` is quick.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcl.config import ConfigError, TrialConfig
from hcl.config.schema import suggest
from sweeps.space.checks import check_objective, check_sweep, check_trials
from sweeps.space.conditions import Conditions, conditions_to_dict
from sweeps.space.parameters import Parameter, parameter_to_dict
from sweeps.space.sections import flat_section, parse_points, parse_search
from sweeps.space.settings import SweepSettings, _parse_sweep
from sweeps.space.yaml_file import load_yaml

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SECTIONS = ("description", "trial", "search", "points_to_evaluate", "sweep")


@dataclass(frozen=True)
class SearchSpace:
    """A checked search space; `name` is the file's stem.

    Attributes:
        parameters: what is searched; a key stands after those that decide over it.
    """

    name: str
    description: str
    constants: dict[str, Any]  # flat, as TrialConfig names them
    parameters: dict[str, Parameter]
    points: tuple[dict[str, Any], ...]  # values as a trial reads them
    sweep: SweepSettings
    conditions: Conditions = field(default_factory=Conditions)

    def distributions(self) -> "dict[str, BaseDistribution]":
        """What Optuna samples each searched key from."""
        return {key: parameter.distribution() for key, parameter in self.parameters.items()}

    def grid(self) -> dict[str, list[Any]]:
        """All values of each searched key, as Optuna keeps them (sampler grid)."""
        return {key: parameter.grid() for key, parameter in self.parameters.items()}

    def stored_points(self) -> list[dict[str, Any]]:
        """Points to evaluate first, as Optuna keeps them."""
        return [
            {key: self.parameters[key].store(value) for key, value in point.items()}
            for point in self.points
        ]

    def trial_config(self, params: Mapping[str, Any], seed: int) -> TrialConfig:
        """The configuration of one seed of a trial.

        Args:
            params: as Optuna keeps them (a list is the text `10,10`).
            seed: of the training.

        Raises:
            ConfigError: this combination is not a valid trial.
        """
        chosen = {key: self.parameters[key].load(value) for key, value in params.items()}
        return TrialConfig.from_dict({**self.constants, **chosen, "seed": seed})

    def example(self) -> TrialConfig:
        """A trial at the first end of every range; all trials share its benchmark."""
        return self.trial_config(self.corners(0)[0], seed=self.sweep.seeds[0])

    def corners(self, end: int) -> list[dict[str, Any]]:
        """Every range at its first end (0) or its last (-1), as Optuna keeps them.

        More than one where there are conditions: together they search every key.
        """
        ends = {
            key: parameter.store(list(parameter.corners().values())[end])
            for key, parameter in self.parameters.items()
        }
        return self.conditions.branches(ends, end)

    def digests(self) -> dict[str, str]:
        """A hash of each part that decides what a trial's value means: resuming needs the same."""
        everything = self.to_dict()
        sweep = everything["sweep"]
        parts = {name: everything[name] for name in ("trial", "search", "points_to_evaluate")}
        parts["trial"].pop("train/num_replicas", None)  # how many seeds at a time: only speed
        for name in ("seeds", "objective", "mode"):
            parts[f"sweep.{name}"] = sweep[name]
        return {name: _digest(part) for name, part in parts.items()}

    def to_dict(self) -> dict[str, Any]:
        """Back to the form of the file; `parse` of it gives an equal space."""
        return {
            "description": self.description,
            "trial": _plain(self.constants),
            "search": {
                key: parameter_to_dict(p)
                | conditions_to_dict(self.conditions, key, self.parameters)
                for key, p in self.parameters.items()
            },
            "points_to_evaluate": [_plain(point) for point in self.points],
            "sweep": _plain(dataclasses.asdict(self.sweep)),
        }

    def with_sweep(self, **changes: Any) -> "SearchSpace":
        """This space with settings of the command line; those that are None stay.

        Raises:
            ConfigError: a setting is out of range.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        errors: list[str] = []
        sweep = _parse_sweep({**dataclasses.asdict(self.sweep), **given}, errors)
        if sweep:
            check_sweep(sweep, self.parameters, self.conditions, self.example(), errors)
        if errors or sweep is None:
            raise ConfigError(errors)
        return dataclasses.replace(self, sweep=sweep)


def load(path: Path) -> SearchSpace:
    """Read and check a search space file.

    Raises:
        ConfigError: every problem of the file, each with its key's path.
    """
    return parse(load_yaml(path), name=path.stem)


def parse(document: Mapping[str, Any], name: str) -> SearchSpace:
    """As `load`, from the mapping that a file holds."""
    errors = [
        f"{key}: unknown key{suggest(str(key), SECTIONS)}"
        for key in document
        if key not in SECTIONS
    ]
    description = document.get("description", "")
    if not isinstance(description, str):
        errors.append(f"description: must be one line of text but got {description!r}")
    constants = flat_section(document, "trial", errors)
    parameters, when = parse_search(document.get("search"), constants, errors)
    points = parse_points(document.get("points_to_evaluate"), parameters, when, errors)
    sweep = _parse_sweep(document.get("sweep", {}), errors)
    config = check_trials(constants, parameters, when, points, errors)
    if config and sweep:
        for objective in sweep.objectives:
            if len(sweep.objectives) == 1 or objective != "compression_ratio":
                check_objective(objective, config, errors)
    good = {key: parameter for key, parameter in parameters.items() if parameter}
    if config and sweep and len(good) == len(parameters):
        check_sweep(sweep, good, when, config, errors)
    if errors or sweep is None:
        raise ConfigError(errors)
    return SearchSpace(name, description, _plain(constants), good, tuple(points), sweep, when)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
