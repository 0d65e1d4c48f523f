"""JSON Schema of a search space or a trial file, for editors that complete and check YAML.

It says what `hcl.config` says of each setting by itself: name, type, limits, default, meaning. How
settings go together `hcl validate` alone knows.
"""

import dataclasses
import types
import typing
from typing import Any, Literal

from hcl.config.schema import TOP, Group
from hcl.config.trial import GROUPS
from sweeps.space.reference import meanings
from sweeps.space.sections import NAMES
from sweeps.space.settings import SweepSettings

Schema = dict[str, Any]
TYPES = {float: "number", int: "integer", bool: "boolean", str: "string"}
BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
OWN = {"type": "string", "pattern": ":"}  # an import path
RANGE = {
    "type": "object",
    "required": ["type"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["float", "int", "choice"]},
        "low": {"type": "number", "description": "Lowest value, included."},
        "high": {"type": "number", "description": "Highest value, included."},
        "log": {"type": "boolean", "description": "Draw evenly on a logarithmic scale."},
        "step": {"type": "number", "exclusiveMinimum": 0, "description": "Between two values."},
        "values": {"type": "array", "minItems": 1, "description": "Values to choose from."},
        "when": {"type": "object", "description": "Other searched key -> values it applies to."},
    },
}


def json_schema() -> Schema:
    """Make the schema: of a search space where it has a section of one, else of a trial."""
    keys = {f"{name}/{key}" for name in GROUPS if name != TOP for key in _keys(GROUPS[name])}
    searched = {"anyOf": [{"enum": sorted(keys)}, {"pattern": "^method/"}]}
    space: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "description": {"type": "string", "description": "What the sweep is for."},
            "trial": {"$ref": "#/$defs/trial"},
            "search": {"type": "object", "propertyNames": searched, "additionalProperties": RANGE},
            "points_to_evaluate": {
                "type": "array",
                "items": {"type": "object", "propertyNames": searched},
            },
            "sweep": {
                "type": "object",
                "additionalProperties": False,
                "properties": settings_schema(SweepSettings),
            },
        },
    }
    assert set(space["properties"]) == set(NAMES)
    sections = [{"required": [name]} for name in NAMES if name != "description"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Search space or trial of hcl",
        "if": {"anyOf": sections},
        "then": space,
        "else": {"$ref": "#/$defs/trial"},
        "$defs": {"trial": _trial()},
    }


def _trial() -> Schema:
    """Settings of a trial: each group nested, or its keys flat."""
    properties, flat = dict(_group(GROUPS[TOP])["properties"]), dict[str, Schema]()
    for name, group in GROUPS.items():
        if name != TOP:
            properties[name] = _group(group)
            flat |= {f"{name}/{key}": one for key, one in properties[name]["properties"].items()}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**properties, **flat},
        "patternProperties": {"^method/": {}},  # settings of a user's own method
    }


def _keys(group: Group) -> set[str]:
    kinds = [kind for kind, _ in group.choices.values()]
    return {field.name for kind in kinds for field in dataclasses.fields(kind)}


def _group(group: Group) -> Schema:
    """All settings of a group; with a named choice, those alone that the choice has."""
    found: dict[str, list[Schema]] = {}
    for kind in {kind: None for kind, _ in group.choices.values()}:
        for key, one in settings_schema(kind).items():
            kinds = found.setdefault(key, [])
            kinds += [one] if one not in kinds else []
    properties = {key: ones[0] if len(ones) == 1 else {"anyOf": ones}
                  for key, ones in found.items()}  # fmt: skip
    made: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    if not group.selector:
        return made
    names: list[Schema] = [{"enum": list(group.choices)}]
    properties[group.selector] = {"anyOf": [*names, OWN], "default": group.default}
    if len({kind for kind, _ in group.choices.values()}) > 1:
        chosen = {"required": [group.selector]}
        own = {**chosen, "properties": {group.selector: OWN}}
        made["additionalProperties"] = True  # see the choices
        made["allOf"] = [
            {"if": {**chosen, "properties": {group.selector: {"const": name}}},
             "then": {"propertyNames": {"enum": sorted({f.name for f in dataclasses.fields(kind)}
                                                       | {group.selector})}}}
            for name, (kind, _) in group.choices.items()
        ]  # fmt: skip
        made["allOf"].append(
            {"if": {"not": own}, "then": {"propertyNames": {"enum": sorted(properties)}}}
        )
    return made


def settings_schema(kind: type) -> dict[str, Schema]:
    """Each setting of a class, with its limits, default and meaning."""
    hints, said = typing.get_type_hints(kind), meanings(kind)
    found = {}
    for field in dataclasses.fields(kind):
        bounds = {BOUNDS[key]: value for key, value in field.metadata.items() if key in BOUNDS}
        one = _type(hints[field.name], bounds)
        if field.default is not dataclasses.MISSING:
            is_list = isinstance(field.default, tuple)
            one["default"] = list(field.default) if is_list else field.default
        found[field.name] = {**one, "description": said.get(field.name, "")}
    return found


def _type(hint: Any, bounds: Schema) -> Schema:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_type(part, bounds) for part in parts]}
    if origin is Literal:
        return {"enum": list(parts)}
    if origin is tuple:
        return {"type": "array", "items": _type(parts[0], bounds)}
    if hint is type(None):
        return {"type": "null"}
    return {"type": TYPES[hint], **(bounds if hint in (int, float) else {})}
