"""Typed, bounded settings: turns a plain dict into frozen dataclasses and lists every mistake.

Torch-free, so that a command line can validate files without paying for an import of torch.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

T = TypeVar("T")
LARGEST = 2**63 - 1  # of whole numbers; what torch and databases take


class ConfigError(ValueError):
    """A user's mistake, told in full: one line per problem, each with its key and the fix.

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
) -> Any:
    """A dataclass field with a default and bounds (for tuples: on each element)."""
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    return dataclasses.field(
        default=default, metadata={k: v for k, v in bounds.items() if v is not None}
    )


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"method": {"beta": 1}}` -> `{"method/beta": 1}`; flat keys pass through unchanged.

    Raises:
        ConfigError: a key is given twice (once nested, once flat) or is not a string.
    """
    flat: dict[str, Any] = {}
    errors = []
    for key, value in nested.items():
        if not isinstance(key, str):
            errors.append(f"{prefix}{key!r}: keys must be strings")
            continue
        part = flatten(value, f"{prefix}{key}/") if isinstance(value, Mapping) else None
        for name, item in part.items() if part is not None else [(prefix + key, value)]:
            if name in flat:
                errors.append(f"{name}: given twice, remove one")
            flat[name] = item
    if errors:
        raise ConfigError(errors)
    return flat


def build(cls: type[T], values: Mapping[str, Any], prefix: str, errors: list[str]) -> T | None:
    """Make `cls` from `values`, appending every problem to `errors`; None if there was one."""
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
    missing = [name for name, f in fields.items() if name not in values and _is_required(f)]
    errors += [f"{prefix}{name}: is missing" for name in missing]
    return cls(**good) if len(errors) == before else None


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def suggest(key: str, known: typing.Iterable[str]) -> str:
    """`; did you mean X?` or `; known keys: ...`, for the end of a message."""
    names = sorted(known)
    # `beta` for `method/beta`: nothing that difflib would find close.
    close = [name for name in names if key and name.endswith(f"/{key}")]
    close = close or difflib.get_close_matches(key, names, n=1)
    return f"; did you mean {' or '.join(close)}?" if close else f"; known: {', '.join(names)}"


@dataclasses.dataclass(frozen=True)
class _Problem:
    text: str


def _convert(value: Any, hint: Any) -> Any:
    """`value` as the type of `hint`, or a _Problem. No lenient casts: "1" is not 1."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, typing.get_args(hint))
    if origin is Literal:
        choices = typing.get_args(hint)
        if value in choices and isinstance(value, str):
            return value
        # YAML reads a bare `off` as False; say so instead of a puzzling message.
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
    others = [choice for option in options[1:] for choice in typing.get_args(option)]
    words = [choice for choice in others if isinstance(choice, str)]
    return _Problem("; or ".join([problems[0].text, *words]))


def _convert_scalar(value: Any, hint: type) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and is_number:
        try:
            number = float(value)
        except OverflowError:  # an int of 400 digits
            number = math.inf
        if math.isfinite(number):
            return number
        return _Problem(f"must be finite but got {value!r:.30}")
    if hint is int and is_number and isinstance(value, int):
        if abs(value) <= LARGEST:
            return value
        return _Problem(f"must be at most {LARGEST} (2^63 - 1) but got {_spelled(value)}")
    if hint in (bool, str) and isinstance(value, hint):
        return value
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "a string"}
    fix = ""
    if hint is float and isinstance(value, str) and _is_number(value):
        fix = f" (YAML reads {value} as text; write it with a dot, as in {float(value):.1e})"
    return _Problem(f"must be {names[hint]} but got {value!r}{fix}")


def _spelled(value: int) -> str:
    try:
        return f"{value!s:.30}"
    except ValueError:  # Python writes no more than 4300 digits
        return "a longer one"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
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
