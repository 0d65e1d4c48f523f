"""A search space: what is fixed, what Optuna chooses, what is tried first, and how to sweep.

`load` reads a file and reports all its mistakes at once. Neither Ray nor torch is imported, and
Optuna only for distributions, so that `hcl validate` is quick.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcl.config import ConfigError, TrialConfig, plugins
from hcl.config.trial import IMPORTED, imported_paths
from sweeps.space.checks import check_sections, check_sweep
from sweeps.space.conditions import Conditions, conditions_to_dict
from sweeps.space.parameters import ChoiceParameter, Parameter, parameter_to_dict, to_plain
from sweeps.space.sections import read_sections
from sweeps.space.settings import SweepSettings, parse_settings
from sweeps.space.yaml_file import load_yaml

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class SearchSpace:
    """A checked search space.

    Attributes:
        name: stem of the file.
        description: one line of text.
        constants: fixed settings of every trial, as flat keys.
        parameters: what is searched; a key stands after those that decide over it.
        points: points to evaluate first, with values as a trial reads them.
        sweep: how the sweep is run.
        conditions: when each key is searched.
    """

    name: str
    description: str
    constants: dict[str, Any]
    parameters: dict[str, Parameter]
    points: tuple[dict[str, Any], ...]
    sweep: SweepSettings
    conditions: Conditions = field(default_factory=Conditions)

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Distributions that Optuna samples the searched keys from."""
        return {key: parameter.distribution() for key, parameter in self.parameters.items()}

    def grid(self) -> dict[str, list[Any]]:
        """List all values of each searched key, as Optuna stores them (sampler grid)."""
        return {key: parameter.grid() for key, parameter in self.parameters.items()}

    def stored_points(self) -> list[dict[str, Any]]:
        """List the points to evaluate first, as Optuna stores them."""
        return [
            {key: self.parameters[key].store(value) for key, value in point.items()}
            for point in self.points
        ]

    def trial_config(self, params: Mapping[str, Any], seed: int) -> TrialConfig:
        """Build the configuration of one seed of a trial.

        Args:
            params: values of searched keys, as Optuna stores them (a list is the text `10,10`).
            seed: seed of the training.

        Raises:
            ConfigError: this combination is not a valid trial.
        """
        chosen = {key: self.parameters[key].load(value) for key, value in params.items()}
        return TrialConfig.from_dict({**self.constants, **chosen, "seed": seed})

    def example(self) -> TrialConfig:
        """Build the trial at the first end of every range; all trials share its benchmark."""
        return self.trial_config(self.corners(0)[0], seed=self.sweep.seeds[0])

    def examples_of_data(self) -> list[TrialConfig]:
        """Build a trial for each file of weights that may be chosen; their data are the same."""
        example, weights = self.example(), self.parameters.get("target/weights")
        if weights is None:
            return [example]
        names = map(str, weights.corners().values())
        return [replace(example, target=replace(example.target, weights=name)) for name in names]

    def imported_paths(self) -> list[str]:
        """List the import paths of users' own methods, networks etc. that trials may name."""
        paths = imported_paths(self.constants)
        for key in IMPORTED:
            parameter = self.parameters.get(key)
            if isinstance(parameter, ChoiceParameter):
                paths += [v for v in parameter.values if plugins.is_import_path(v)]
        return paths

    def corners(self, end: int) -> list[dict[str, Any]]:
        """List trials with every range at its first end (0) or its last (-1).

        Values are as Optuna stores them. With conditions there are several trials, which
        together search every key.
        """
        ends = {
            key: parameter.store(list(parameter.corners().values())[end])
            for key, parameter in self.parameters.items()
        }
        return self.conditions.branches(ends, end)

    def digests(self) -> dict[str, str]:
        """Hash each part that decides what a trial's value means; to resume, all must be equal."""
        everything = self.to_dict()
        sweep = everything["sweep"]
        parts = {name: everything[name] for name in ("trial", "search", "points_to_evaluate")}
        parts["trial"].pop(
            "train/num_replicas", None
        )  # seeds trained at a time change the speed alone
        for name in ("seeds", "objective", "mode"):
            parts[f"sweep.{name}"] = sweep[name]
        digests = {name: _digest(part) for name, part in parts.items()}
        paths = self.imported_paths()
        return digests | ({f"code of {', '.join(paths)}": plugins.digest(paths)} if paths else {})

    def to_dict(self) -> dict[str, Any]:
        """Write the space in the form of the file; `parse` of that gives an equal space."""
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
        """Change settings of the sweep, as the command line asks; those that are None stay.

        Raises:
            ConfigError: a setting is out of range.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        errors: list[str] = []
        sweep = parse_settings({**dataclasses.asdict(self.sweep), **given}, errors)
        if sweep:
            check_sweep(sweep, self.parameters, self.conditions, self.example(), errors)
        if errors or sweep is None:
            raise ConfigError(errors)
        return replace(self, sweep=sweep)

    def with_points(self, found: Sequence[Mapping[str, Any]]) -> tuple["SearchSpace", list[str]]:
        """Let a sweep try configurations of another sweep first.

        Args:
            found: the configurations, best first: searched key -> value as a trial reads it.

        Returns:
            The space with these points before its own, and a sentence for each value that it
            cannot take; Optuna chooses that one.
        """
        points, notes = [], []
        for one in found:
            kept = {}
            for key, parameter in self.parameters.items():
                if key not in one:
                    notes.append(f"{key}: the other sweep did not search it")
                elif problem := parameter.problem(one[key]):
                    notes.append(f"{key}: {problem}")
                else:
                    kept[key] = parameter.store(one[key])
            notes += [f"{key}: is not searched here" for key in one if key not in self.parameters]
            searched = self.conditions.searched(kept)
            point = {key: self.parameters[key].load(value) for key, value in searched.items()}
            if point and point not in points:
                points.append(point)
        return replace(self, points=(*points, *self.points)), list(dict.fromkeys(notes))


def load(path: Path) -> SearchSpace:
    """Read and check a search space file.

    Raises:
        ConfigError: every mistake in the file, each with its key's path.
    """
    return parse(load_yaml(path), name=path.stem)


def parse(document: Mapping[str, Any], name: str) -> SearchSpace:
    """Read and check the mapping that a search space file holds.

    Raises:
        ConfigError: every mistake in it, each with its key's path.
    """
    errors: list[str] = []
    sections = read_sections(document, errors)
    check_sections(sections, errors)
    if errors or sections.sweep is None:
        raise ConfigError(errors)
    return SearchSpace(
        name=name,
        description=sections.description,
        constants=_plain(sections.constants),
        parameters=sections.valid_parameters,
        points=tuple(sections.points),
        sweep=sections.sweep,
        conditions=sections.conditions,
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: to_plain(value) for key, value in values.items()}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
