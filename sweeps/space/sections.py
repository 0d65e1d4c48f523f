"""The sections of a search space file, each read once, with all mistakes in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hcl.config import flatten
from hcl.config.schema import suggest
from sweeps.space.conditions import Conditions, in_order, parse_conditions
from sweeps.space.parameters import Parameter, freeze, parse_parameter
from sweeps.space.settings import SweepSettings, parse_settings
from sweeps.space.yaml_file import read_flat, refuse_unknown

NAMES = ("description", "trial", "search", "points_to_evaluate", "sweep")


@dataclass(frozen=True)
class Sections:
    """Content of a search space file, by section.

    Attributes:
        description: one line of text.
        constants: fixed settings of every trial, as flat keys.
        parameters: searched keys, each after those that decide over it; None where the range is
            wrong but the key is known.
        conditions: when each key is searched.
        points: points to evaluate first, each as flat keys.
        sweep: how the sweep is run; None where the section is wrong.
    """

    description: str
    constants: dict[str, Any]
    parameters: dict[str, Parameter | None]
    conditions: Conditions
    points: list[dict[str, Any]]
    sweep: SweepSettings | None

    @property
    def valid_parameters(self) -> dict[str, Parameter]:
        """Searched keys whose range is right."""
        return {key: parameter for key, parameter in self.parameters.items() if parameter}


def overridden(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change what a search space file holds.

    `train/iterations` fixes a setting of every trial, which is then searched no more;
    `sweep/num_trials` changes the section `sweep`, `search/method/beta` a range.

    Args:
        document: what the file holds.
        changes: full key -> new value.

    Raises:
        ConfigError: the file's section `trial` gives a key twice.
    """
    if not changes:
        return dict(document)
    trial = flatten(document.get("trial") or {})
    search = dict(document.get("search") or {})
    sweep = dict(document.get("sweep") or {})
    points = [flatten(point) for point in document.get("points_to_evaluate") or []]
    for name, value in changes.items():
        section, _, key = name.partition("/")
        if section == "sweep":
            sweep[key] = value
        elif section == "search":
            search[key] = value
            trial.pop(key, None)
        else:
            trial[name] = value
            search.pop(name, None)
            points = [{k: v for k, v in point.items() if k != name} for point in points]
    changed = {"trial": trial, "search": search, "sweep": sweep}
    return {**document, **changed, "points_to_evaluate": [point for point in points if point]}


def read_sections(document: Mapping[str, Any], errors: list[str]) -> Sections:
    """Read all sections, appending every mistake to `errors` with its path in the file."""
    refuse_unknown(document, NAMES, "", errors)
    description = document.get("description", "")
    if not isinstance(description, str):
        errors.append(f"description: must be one line of text but got {description!r}")
    constants = read_flat(document.get("trial") or {}, "trial", errors)
    parameters, conditions = _read_search(document.get("search"), constants, errors)
    section = document.get("points_to_evaluate")
    points = _read_points(section, parameters, conditions, errors)
    sweep = parse_settings(document.get("sweep", {}), errors)
    return Sections(description, constants, parameters, conditions, points, sweep)


def _read_search(
    section: Any, constants: dict[str, Any], errors: list[str]
) -> tuple[dict[str, Parameter | None], Conditions]:
    """Read `search`: ranges in dependency order, and when each key is searched."""
    if not isinstance(section, Mapping) or not section:
        errors.append("search: must name at least one key to search, e.g. method/beta")
        return {}, Conditions()
    parameters: dict[str, Parameter | None] = {}
    when: dict[str, Any] = {}
    for name, spec in section.items():
        key, path = str(name), f"search.{name}"
        condition = None
        if isinstance(spec, Mapping) and "when" in spec:
            condition = {key: spec["when"]}
            spec = {name: value for name, value in spec.items() if name != "when"}
        elif key in constants:
            errors.append(f"{path}: is also fixed under trial; remove one of them")
        group = key.split("/")[0]
        if group == "seed":
            errors.append(f"{path}: seeds belong to every trial; list them in sweep.seeds")
        elif group in ("benchmark", "scenario", "eval_scenarios") or key == "method/name":
            errors.append(
                f"{path}: decides what is measured, so its trials cannot be compared;"
                " use one file for each value"
            )
        else:
            parameters[key] = parse_parameter(spec, path, errors)
            when |= condition or {}
    conditions = parse_conditions(when, parameters, errors)
    return in_order(parameters, conditions), conditions


def _read_points(
    section: Any,
    parameters: dict[str, Parameter | None],
    conditions: Conditions,
    errors: list[str],
) -> list[dict[str, Any]]:
    """Read `points_to_evaluate`; a point may name searched keys alone."""
    if section is None:
        return []
    if not isinstance(section, list):
        errors.append(f"points_to_evaluate: must be a list of mappings but got {section!r}")
        return []
    points = []
    for index, item in enumerate(section):
        path = f"points_to_evaluate[{index}]"
        point = read_flat(item or {}, path, errors)
        if not point:
            errors.append(f"{path}: must name at least one searched key but got {item!r}")
        for key, value in point.items():
            if key not in parameters:
                errors.append(
                    f"{path}.{key}: is not searched{suggest(key, parameters)};"
                    " a fixed value belongs under trial"
                )
            elif (parameter := parameters[key]) and (problem := parameter.problem(value)):
                errors.append(f"{path}.{key}: {problem}")
            elif key in conditions.when:
                _check_condition(key, point, parameters, conditions, errors, path)
        points.append({key: freeze(value) for key, value in point.items()})
    return points


def _check_condition(
    key: str,
    point: dict[str, Any],
    parameters: dict[str, Parameter | None],
    conditions: Conditions,
    errors: list[str],
    path: str,
) -> None:
    """Report a point that gives a key but not what the key's condition asks for."""
    for name, allowed in conditions.when[key].items():
        parameter = parameters[name]
        if parameter is None or (name in point and parameter.problem(point[name])):
            continue  # reported at its own place
        if name in point and parameter.store(point[name]) in allowed:
            continue
        here = f"here it is {point[name]}" if name in point else "the point does not give it"
        values = " or ".join(map(str, allowed))
        errors.append(f"{path}.{key}: is searched only when {name} is {values}, but {here}")
