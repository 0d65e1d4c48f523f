"""The sections of a search space file, each read with its mistakes."""

from collections.abc import Mapping
from typing import Any

from hcl.config import ConfigError, flatten
from hcl.config.schema import suggest
from sweeps.space.conditions import Conditions, in_order, parse_conditions
from sweeps.space.parameters import Parameter, parse_parameter


def flat_section(document: Mapping[str, Any], name: str, errors: list[str]) -> dict[str, Any]:
    """A section of nested keys, flat."""
    section = document.get(name) or {}
    if not isinstance(section, Mapping):
        errors.append(f"{name}: must be a mapping but got {section!r}")
        return {}
    try:
        return flatten(section)
    except ConfigError as error:
        errors += [f"{name}.{message}" for message in error.errors]
        return {}


def parse_search(
    section: Any, constants: dict[str, Any], errors: list[str]
) -> tuple[dict[str, Parameter | None], Conditions]:
    """Searched keys in dependency order, and when each is searched.

    None stands where the range itself is wrong: its key is still known.
    """
    if not isinstance(section, Mapping) or not section:
        errors.append("search: must name at least one key to search, e.g. method/beta")
        return {}, Conditions()
    parameters: dict[str, Parameter | None] = {}
    when: dict[str, Any] = {}
    for key, spec in section.items():
        path = f"search.{key}"
        if isinstance(spec, Mapping) and "when" in spec:
            when[str(key)] = spec["when"]
            spec = {name: value for name, value in spec.items() if name != "when"}
        elif key in constants:
            errors.append(f"{path}: is also fixed under trial; remove one of them")
        group = str(key).split("/")[0]
        if group == "seed":
            errors.append(f"{path}: seeds belong to every trial; list them in sweep.seeds")
        elif group in ("benchmark", "scenario", "eval_scenarios") or key == "method/name":
            errors.append(
                f"{path}: decides what is measured, so its trials cannot be compared;"
                " use one file for each value"
            )
        else:
            parameters[str(key)] = parse_parameter(spec, path, errors)
    known = {key: section for key, section in when.items() if key in parameters}
    conditions = parse_conditions(known, parameters, errors)
    return in_order(parameters, conditions), conditions


def parse_points(
    section: Any,
    parameters: dict[str, Parameter | None],
    conditions: Conditions,
    errors: list[str],
) -> list[dict[str, Any]]:
    """Points to evaluate first, each flat and of searched keys alone."""
    if section is None:
        return []
    if not isinstance(section, list):
        errors.append(f"points_to_evaluate: must be a list of mappings but got {section!r}")
        return []
    points = []
    for index, item in enumerate(section):
        path = f"points_to_evaluate[{index}]"
        point = flat_section({path: item if item else None}, path, errors)
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
            else:
                _check_condition(key, point, parameters, conditions, f"{path}.{key}", errors)
        points.append({key: _freeze(value) for key, value in point.items()})
    return points


def _check_condition(
    key: str,
    point: dict[str, Any],
    parameters: dict[str, Parameter | None],
    conditions: Conditions,
    path: str,
    errors: list[str],
) -> None:
    """A point that gives a key must give what the key's condition asks for."""
    for name, allowed in conditions.when.get(key, {}).items():
        parameter = parameters[name]
        if parameter is None or (name in point and parameter.problem(point[name])):
            continue  # reported where it stands
        if name in point and parameter.store(point[name]) in allowed:
            continue
        here = f"here it is {point[name]}" if name in point else "the point does not give it"
        values = " or ".join(map(str, allowed))
        errors.append(f"{path}: is searched only when {name} is {values}, but {here}")


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
