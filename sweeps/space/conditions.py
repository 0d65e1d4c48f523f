"""Conditions: a key with a `when` is searched only where other searched keys have given values.

    method/activation: {type: choice, values: [relu, elu], when: {method/hidden_sizes: [[10, 10]]}}

Where the condition does not hold, the key has its value under `trial`, or its default. Values are
compared as Optuna stores them (a list is the text `10,10`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hcl.config.schema import suggest
from sweeps.space.parameters import ChoiceParameter, IntParameter, Parameter, to_plain

When = dict[str, tuple[Any, ...]]  # name of another key -> its values that meet the condition


@dataclass(frozen=True)
class Conditions:
    """The conditions of a search space.

    Attributes:
        when: conditional key -> its condition. No key depends on itself.
    """

    when: dict[str, When] = field(default_factory=dict)

    def holds(self, key: str, params: Mapping[str, Any]) -> bool:
        """Say whether a trial with these values of the keys before `key` has `key` too."""
        wanted = self.when.get(key, {})
        return all(name in params and params[name] in wanted[name] for name in wanted)

    def searched(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Keep those of `params` (in dependency order) whose condition holds."""
        kept: dict[str, Any] = {}
        for key, value in params.items():
            if self.holds(key, kept):
                kept[key] = value
        return kept

    def needs(self, key: str) -> When:
        """Collect the values that let `key` be searched, of all keys that decide over it."""
        found: When = {}
        for name, allowed in self.when.get(key, {}).items():
            for other, values in [(name, allowed), *self.needs(name).items()]:
                found[other] = tuple(v for v in found.get(other, values) if v in values)
        return found

    def branches(self, values: Mapping[str, Any], end: int = 0) -> list[dict[str, Any]]:
        """List trials: one with `values`, and one for each conditional key that has that key.

        Args:
            values: value of every key, in dependency order.
            end: which of the values that meet a condition to use, 0 (first) or -1 (last).
        """
        overlays = [{}, *({n: v[end] for n, v in self.needs(key).items()} for key in self.when)]
        found: list[dict[str, Any]] = []
        for overlay in overlays:
            params = self.searched({**values, **overlay})
            if params not in found:
                found.append(params)
        return found

    def describe(self, key: str) -> str:
        """Describe a condition: `method/hidden_sizes is 10,10 or 25,25`; empty without one."""
        return " and ".join(
            f"{name} is {' or '.join(map(str, values))}"
            for name, values in self.when.get(key, {}).items()
        )


def parse_conditions(
    sections: Mapping[str, Any],
    parameters: Mapping[str, Parameter | None],
    errors: list[str],
) -> Conditions:
    """Read every `when`, appending each mistake to `errors` with its key's path.

    Args:
        sections: key -> what the file has under its `when`.
        parameters: searched keys; None where the range itself is wrong.
        errors: collects the messages.
    """
    if not sections:
        return Conditions()
    when: dict[str, When] = {}
    for key, section in sections.items():
        if (parsed := _parse_when(key, section, parameters, errors)) is not None:
            when[key] = parsed
    for cycle in _cycles(when):
        errors.append(
            f"search.{cycle[0]}.when: depends on itself ({' -> '.join([*cycle, cycle[0]])});"
            " remove one of these conditions"
        )
        for key in cycle:
            when.pop(key, None)
    for key in list(when):
        never = [name for name, values in Conditions(when).needs(key).items() if not values]
        if never:
            errors.append(
                f"search.{key}.when: never holds, because no value of {never[0]} meets all of its"
                " conditions; change one of them"
            )
            del when[key]
    return Conditions(when)


def in_order(
    parameters: dict[str, Parameter | None], conditions: Conditions
) -> dict[str, Parameter | None]:
    """Sort the keys: each after those that decide over it, otherwise as in the file."""
    if not conditions.when:
        return parameters
    ordered: dict[str, Parameter | None] = {}

    def add(key: str) -> None:
        for name in conditions.when.get(key, {}):
            add(name)
        ordered.setdefault(key, parameters[key])

    for key in parameters:
        add(key)
    return ordered


def conditions_to_dict(
    conditions: Conditions, key: str, parameters: Mapping[str, Parameter]
) -> dict[str, Any]:
    """Write the key's `when` in the form of the file; empty where there is none."""
    if key not in conditions.when:
        return {}
    when = {
        name: [to_plain(parameters[name].load(value)) for value in values]
        for name, values in conditions.when[key].items()
    }
    return {"when": when}


def _parse_when(
    key: str, section: Any, parameters: Mapping[str, Parameter | None], errors: list[str]
) -> When | None:
    path = f"search.{key}.when"
    if not isinstance(section, Mapping) or not section:
        errors.append(
            f"{path}: must be a mapping of other searched keys to values such as"
            f" {{method/hidden_sizes: [[10, 10]]}} but got {section!r}"
        )
        return None
    before, when = len(errors), {}
    for name, given in section.items():
        if name not in parameters:
            others = [other for other in parameters if other != key]
            fix = suggest(str(name), others) if others else f"; {key} is the only key that is"
            errors.append(f"{path}.{name}: is not searched{fix}")
            continue
        parameter = parameters[name]
        if parameter is None:
            continue  # its wrong range is already reported
        if not isinstance(parameter, ChoiceParameter | IntParameter):
            errors.append(f"{path}.{name}: is of type float; a condition needs a choice or an int")
            continue
        values, problems = _parse_values(given, parameter)
        errors += [f"{path}.{name}: {problem}" for problem in problems]
        when[name] = values
    return when if len(errors) == before and when else None


def _parse_values(given: Any, parameter: Parameter) -> tuple[tuple[Any, ...], list[str]]:
    """Read one value or a list of them; return them as Optuna stores them, and all problems."""
    is_one = not isinstance(given, list) or parameter.problem(given) is None
    values = [given] if is_one else given
    if not values:
        return (), ["must be a value or a list of values but got []"]
    problems = [p for value in values if (p := parameter.problem(value))]
    if problems:
        return (), problems
    return tuple(dict.fromkeys(parameter.store(value) for value in values)), []


def _cycles(when: Mapping[str, When]) -> list[list[str]]:
    """Find keys that depend on one another, each circle once."""
    found: list[list[str]] = []

    def walk(key: str, path: list[str]) -> None:
        if key in path:
            circle = path[path.index(key) :]
            if not any(set(circle) == set(known) for known in found):
                found.append(circle)
            return
        for name in when.get(key, {}):
            walk(name, [*path, key])

    for key in when:
        walk(key, [])
    return found
