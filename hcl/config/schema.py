"""Typed, bounded settings: a plain dict becomes frozen dataclasses, every mistake is listed.

Nothing in `hcl.config` imports torch: a command line checks files without that import's second.
"""

import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

T = TypeVar("T")
_MISSING = dataclasses.MISSING
LARGEST = 2**63 - 1  # whole number that torch and databases take


class ConfigError(ValueError):
    """A user's mistakes: one line per problem, each with its key and the fix.

    Args:
        errors: the messages, one sentence each.
    """

    def __init__(self, errors: str | list[str]) -> None:
        self.errors = [errors] if isinstance(errors, str) else list(errors)
        super().__init__("\n".join(self.errors))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,)


def setting(
    default: Any,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    added_later: bool = False,
) -> Any:
    """Make a dataclass field with a default and bounds (for tuples: on each element).

    Args:
        default: of the setting.
        ge: greater than or equal.
        gt: greater than.
        le: less than or equal.
        lt: less than.
        added_later: results had been recorded before the setting existed. At its default it is
            in no digest, and so the old results are still found.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    given = {key: bound for key, bound in bounds.items() if bound is not None}
    return dataclasses.field(default=default, metadata={**given, "added_later": added_later})


def added_later_at_default(settings: Any) -> set[str]:
    """Name the settings that change no digest recorded before they existed."""
    return {
        field.name
        for field in dataclasses.fields(settings)
        if field.metadata.get("added_later") and getattr(settings, field.name) == field.default
    }


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn `{"method": {"beta": 1}}` into `{"method/beta": 1}`; flat keys stay as they are.

    Raises:
        ConfigError: a key is given twice (once nested, once flat) or is not a string.
    """
    flat: dict[str, Any] = {}
    errors = []
    for key, value in nested.items():
        if not isinstance(key, str):
            errors.append(f"{prefix}{key!r}: keys must be strings")
            continue
        is_group = isinstance(value, Mapping)
        part = flatten(value, f"{prefix}{key}/") if is_group else {prefix + key: value}
        for name, item in part.items():
            if name in flat:
                errors.append(f"{name}: given twice, remove one")
            flat[name] = item
    if errors:
        raise ConfigError(errors)
    return flat


# Frozen dataclass of a group's settings, and defaults that replace the class's own.
Choice = tuple[type, Mapping[str, Any]]
TOP = "top"  # the group of settings that stand alone, as `seed` does


@dataclasses.dataclass(frozen=True)
class Group:
    """One group of settings, such as `target`, and the setting that decides what the rest are.

    Attributes:
        choices: name -> its settings.
        default: the choice where a file makes none.
        selector: the setting that chooses, `network`; "" where there is one choice only.
        noun: what is chosen, for messages.
        listed: the choices in words, for messages; "" = all their names.
        find_own: gives an import path's choice, None for another name; may raise ConfigError.
    """

    choices: Mapping[str, Choice]
    default: str = ""
    selector: str = ""
    noun: str = ""
    listed: str = ""
    find_own: Callable[[str], Choice | None] | None = None

    def build(self, values: Mapping[str, Any], prefix: str, errors: list[str]) -> Any:
        """Make the settings, appending every problem to `errors`; None if there was one."""
        chosen, find = values.get(self.selector, self.default), self.find_own
        rest = {key: value for key, value in values.items() if key != self.selector}
        try:
            found = self.choices.get(str(chosen)) or (find(str(chosen)) if find else None)
        except ConfigError as error:
            errors.append(f"{prefix}{self.selector}: {error}")
            return None
        if found and isinstance(chosen, str):
            kind, defaults = found
            return build(kind, {**defaults, **rest}, prefix, errors)
        fix = suggest(str(chosen), self.choices, self.listed)
        errors.append(f"{prefix}{self.selector}: unknown {self.noun} {chosen!r}{fix}")
        kinds = {kind for kind, _ in self.choices.values()}
        if len(kinds) == 1:  # what else is wrong does not depend on the choice
            build(kinds.pop(), rest, prefix, errors)
        return None

    def keys(self, name: str, kind: type | None = None) -> list[str]:
        """List the full names of the settings of a class; None = the default choice's."""
        kind = kind or self.choices[self.default][0]
        own = [field.name for field in dataclasses.fields(kind)]
        selector = [self.selector] if self.selector and self.selector not in own else []
        return [key if name == TOP else f"{name}/{key}" for key in (*selector, *own)]


def build_groups(
    groups: Mapping[str, Group], values: Mapping[str, Any], errors: list[str]
) -> dict[str, Any]:
    """Make every group from nested, flat or mixed keys, appending every problem to `errors`.

    Returns:
        Group -> its settings, None for a group with mistakes.

    Raises:
        ConfigError: a key is given twice or is not a string.
    """
    parts: dict[str, dict[str, Any]] = {name: {} for name in groups}
    strangers = []
    for key, value in flatten(values).items():
        name, _, rest = key.partition("/")
        if key in groups[TOP].keys(TOP):
            parts[TOP][key] = value
        elif rest and name in parts.keys() - {TOP}:
            parts[name][rest] = value
        elif key in parts.keys() - {TOP}:
            errors.append(f"{key}: must be a mapping of its settings but got {value!r}")
        else:
            strangers.append(key)
    made = {}
    for name, group in groups.items():
        made[name] = group.build(parts[name], "" if name == TOP else f"{name}/", errors)
    errors += [f"{key}: unknown key{_suggest_anywhere(key, groups, made)}" for key in strangers]
    return made


def _suggest_anywhere(key: str, groups: Mapping[str, Group], made: Mapping[str, Any]) -> str:
    """Suggest a key of any group; else list the groups and the settings that stand alone."""
    known: list[str] = []
    for name, group in groups.items():
        known += group.keys(name, type(made[name]) if made[name] else None)
    listed = [*groups[TOP].keys(TOP), *(f"{name}/..." for name in groups if name != TOP)]
    return suggest(key, [*known, *listed], ", ".join(sorted(listed)))


def build(cls: type[T], values: Mapping[str, Any], prefix: str, errors: list[str]) -> T | None:
    """Make a `cls` from `values`, appending every problem to `errors`; None if there was one."""
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    before = len(errors)
    good: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            errors.append(f"{prefix}{key}: unknown key{suggest(str(key), fields)}")
            continue
        result = _convert(value, hints[key])
        problem = result.text if isinstance(result, _Problem) else None
        problem = problem or _out_of_bounds(result, fields[key].metadata)
        if problem:
            errors.append(f"{prefix}{key}: {problem}")
        else:
            good[key] = result
    required = [name for name, f in fields.items() if _MISSING is f.default is f.default_factory]
    errors += [f"{prefix}{name}: is missing" for name in required if name not in values]
    return cls(**good) if len(errors) == before else None


def suggest(key: str, known: typing.Iterable[str], listed: str = "") -> str:
    """Give the end of a message: `; did you mean X?`, else `; known: ...` with `listed`."""
    names = sorted(known)
    # difflib does not find `method/beta` close to `beta`.
    close = [name for name in names if key and name.endswith(f"/{key}")]
    close = close or difflib.get_close_matches(key, names, n=1)
    return (
        f"; did you mean {' or '.join(close)}?"
        if close
        else f"; known: {listed or ', '.join(names)}"
    )


@dataclasses.dataclass(frozen=True)
class _Problem:
    text: str


def _convert(value: Any, hint: Any) -> Any:
    """Return `value` as the type of `hint`, or a _Problem. Nothing is cast: "1" is not 1."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, typing.get_args(hint))
    if origin is Literal:
        choices = typing.get_args(hint)
        if value in choices and isinstance(value, str):
            return value
        # YAML reads a bare `off` as False, which nobody would guess from "but got False".
        hint_off = '; write it in quotes: "off"' if value is False and "off" in choices else ""
        return _Problem(f"must be one of {', '.join(choices)} but got {value!r}{hint_off}")
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return _Problem(f"must be a list but got {value!r}")
        items = [_convert(item, typing.get_args(hint)[0]) for item in value]
        bad = [item for item in items if isinstance(item, _Problem)]
        return bad[0] if bad else tuple(items)
    return _convert_scalar(value, hint)


def _convert_union(value: Any, options: tuple[Any, ...]) -> Any:
    if value is None and type(None) in options:
        return None
    results = [_convert(value, option) for option in options if option is not type(None)]
    problems = [result for result in results if isinstance(result, _Problem)]
    if len(problems) < len(results):
        return next(result for result in results if not isinstance(result, _Problem))
    words = [w for option in options[1:] for w in typing.get_args(option) if isinstance(w, str)]
    return _Problem("; or ".join([problems[0].text, *words]))


def _convert_scalar(value: Any, hint: type) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and is_number:
        with contextlib.suppress(OverflowError):  # of an int of 400 digits
            if math.isfinite(number := float(value)):
                return number
        return _Problem(f"must be finite but got {value!r:.30}")
    if hint is int and is_number and isinstance(value, int):
        if abs(value) <= LARGEST:
            return value
        return _Problem(f"must be at most {LARGEST} (2^63 - 1) but got {_shorten(value)}")
    if hint in (bool, str) and isinstance(value, hint):
        return value
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "a string"}
    fix = ""
    if hint is float and isinstance(value, str) and _is_number(value):
        fix = f" (YAML reads {value} as text; write it with a dot, as in {float(value):.1e})"
    return _Problem(f"must be {names[hint]} but got {value!r}{fix}")


def _shorten(value: int) -> str:
    try:
        return f"{value!s:.30}"
    except ValueError:  # Python writes no more than 4300 digits
        return "a longer one"


def _is_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return math.isfinite(float(text))
    return False


def _out_of_bounds(value: Any, bounds: Mapping[str, Any]) -> str | None:
    if value is None or isinstance(value, str | _Problem):
        return None
    for item in value if isinstance(value, tuple) else (value,):
        if "ge" in bounds and item < bounds["ge"]:
            return f"must be >= {bounds['ge']} but got {item}"
        if "gt" in bounds and item <= bounds["gt"]:
            return f"must be > {bounds['gt']} but got {item}"
        if "le" in bounds and item > bounds["le"]:
            return f"must be <= {bounds['le']} but got {item}"
        if "lt" in bounds and item >= bounds["lt"]:
            return f"must be < {bounds['lt']} but got {item}"
    return None
