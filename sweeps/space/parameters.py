"""A searched hyperparameter: its range in YAML, as an Optuna distribution, and its values.

Ray's translation of ranges makes integer upper bounds exclusive and drops the step of log ranges,
so distributions are built here. Optuna is imported only when one is built.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hcl.config.schema import build, suggest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class FloatParameter:
    """A real number, both ends included."""

    low: float = math.nan
    high: float = math.nan
    log: bool = False
    step: float | None = None

    def distribution(self) -> "BaseDistribution":
        """Build the distribution that Optuna samples from."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def describe(self) -> str:
        """Describe the range: `0.1 to 1 in steps of 0.1`."""
        step = f" in steps of {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}" + step + (", log" if self.log else "")

    def corners(self) -> dict[str, float]:
        """List both ends, by name in the file: where a range can be wrong for the trial."""
        return {"low": self.low, "high": self.high}

    def store(self, value: Any) -> Any:
        """Convert a value to what Optuna and MLflow store."""
        return float(value)

    def load(self, stored: Any) -> Any:
        """Convert a stored value to what a trial reads."""
        return stored

    def grid_size(self) -> int | None:
        """Count the values; None for a range without steps."""
        return round((self.high - self.low) / self.step) + 1 if self.step else None

    def grid(self) -> list[Any]:
        """List the values as Optuna stores them, for a range with steps."""
        low, step = Decimal(str(self.low)), Decimal(str(self.step))  # 0.3, not 0.30000000000000004
        return [self.store(low + index * step) for index in range(self.grid_size() or 0)]

    def problem(self, value: Any) -> str | None:
        """Say why `value` cannot be a point of this range, None if it can."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a number but got {value!r}"
        if not self.low <= value <= self.high:  # also refuses NaN
            return f"{value} is outside the range {self.low} to {self.high}"
        if self.step and not _on_grid(value, self.low, self.step):
            return f"{value} is not {self.low} plus a multiple of {self.step}"
        return None


@dataclass(frozen=True)
class IntParameter(FloatParameter):
    """A whole number, both ends included."""

    low: int = 0
    high: int = 0
    step: int | None = None

    def distribution(self) -> "BaseDistribution":
        """Build the distribution that Optuna samples from."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, log=self.log, step=self.step or 1)

    def store(self, value: Any) -> Any:
        """Convert a value to what Optuna and MLflow store."""
        return int(value)

    def grid_size(self) -> int:
        """Count the values."""
        return (self.high - self.low) // (self.step or 1) + 1

    def grid(self) -> list[Any]:
        """List the values as Optuna stores them."""
        return list(range(self.low, self.high + 1, self.step or 1))

    def problem(self, value: Any) -> str | None:
        """Say why `value` cannot be a point of this range, None if it can."""
        if isinstance(value, float):
            return f"must be a whole number but got {value!r}"
        return super().problem(value)


@dataclass(frozen=True)
class ChoiceParameter:
    """One of several values. A list is one value; databases store it as the text `10,10`."""

    values: tuple[Any, ...] = ()

    def distribution(self) -> "BaseDistribution":
        """Build the distribution that Optuna samples from."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.grid())

    def describe(self) -> str:
        """Describe the values: `one of relu, elu`."""
        return f"one of {', '.join(str(to_plain(value)) for value in self.values)}"

    def corners(self) -> dict[str, Any]:
        """List all values, by name in the file: each can be wrong for the trial."""
        return {f"values[{index}]": value for index, value in enumerate(self.values)}

    def grid_size(self) -> int:
        """Count the values."""
        return len(self.values)

    def grid(self) -> list[Any]:
        """List the values as Optuna stores them."""
        return [self.store(value) for value in self.values]

    def store(self, value: Any) -> Any:
        """Convert a value to what Optuna and MLflow store."""
        if isinstance(value, list | tuple):
            return ",".join(map(str, value)) or "[]"
        return value

    def load(self, stored: Any) -> Any:
        """Convert a stored value to what a trial reads.

        Raises:
            KeyError: it is not one of the values.
        """
        for value in self.values:
            if _same(self.store(value), stored):
                return value
        raise KeyError(stored)

    def problem(self, value: Any) -> str | None:
        """Say why `value` cannot be chosen, None if it can."""
        wanted = freeze(value)
        if any(_same(wanted, known) for known in self.values):
            return None
        known = ", ".join(str(to_plain(v)) for v in self.values)
        return f"{value!r} is not one of the values {known}"


Parameter = FloatParameter | ChoiceParameter
_KINDS: dict[str, type[Parameter]] = {
    "float": FloatParameter,
    "int": IntParameter,
    "choice": ChoiceParameter,
}


def parse_parameter(spec: Any, path: str, errors: list[str]) -> Parameter | None:
    """Build a parameter from its YAML, appending every mistake to `errors` with its key's path.

    Args:
        spec: `{type: float, low: 1.0e-4, high: 1.0, log: true}` and the like.
        path: path of its key in the file.
        errors: collects the messages.
    """
    if not isinstance(spec, Mapping):
        errors.append(
            f"{path}: must be a mapping such as {{type: float, low: 0.1, high: 1.0}} but got"
            f" {spec!r} (a fixed value belongs under trial)"
        )
        return None
    kind = spec.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        got = "is missing" if kind is None else f"must be float, int or choice but got {kind!r}"
        errors.append(f"{path}.type: {got}" + ("; use float, int or choice" if not kind else ""))
        return None
    before = len(errors)
    values = {key: value for key, value in spec.items() if key != "type"}
    parse = _parse_choice if kind == "choice" else _parse_range
    parameter = parse(_KINDS[kind], values, path, errors)
    return parameter if len(errors) == before else None


def parameter_to_dict(parameter: Parameter) -> dict[str, Any]:
    """Write a parameter in the form of the file."""
    if isinstance(parameter, ChoiceParameter):
        return {"type": "choice", "values": [to_plain(value) for value in parameter.values]}
    kind = "int" if isinstance(parameter, IntParameter) else "float"
    given = {f.name: getattr(parameter, f.name) for f in fields(parameter)}
    return {"type": kind, **{key: value for key, value in given.items() if value is not None}}


def freeze(value: Any) -> Any:
    """Turn a list into a tuple; other values stay."""
    return tuple(value) if isinstance(value, list) else value


def to_plain(value: Any) -> Any:
    """Turn a tuple into a list, as YAML writes it; other values stay."""
    return list(value) if isinstance(value, tuple) else value


def _parse_range(
    kind: type[Any], values: dict[Any, Any], path: str, errors: list[str]
) -> Parameter | None:
    errors += [f"{path}.{end}: is missing" for end in ("low", "high") if end not in values]
    before = len(errors)
    parameter: FloatParameter | None = build(kind, values, f"{path}.", errors)
    if parameter is None or len(errors) > before or not {"low", "high"} <= values.keys():
        return None
    low, high, step = parameter.low, parameter.high, parameter.step
    if low > high:
        errors.append(f"{path}.low: {low} is above high {high}; swap them")
    elif low == high:
        errors.append(f"{path}.low: equals high ({low}); a fixed value belongs under trial")
    if parameter.log and low <= 0:
        errors.append(f"{path}.low: must be > 0 because log is true but got {low}")
    if parameter.log and step is not None:
        errors.append(
            f"{path}.step: Optuna cannot combine step with log: true; remove one of them"
        )
    elif step is not None and step <= 0:
        errors.append(f"{path}.step: must be > 0 but got {step}")
    elif step is not None and not math.isfinite((high - low) / step):
        errors.append(f"{path}.step: {step} is too small for the range {low} to {high}")
    elif step is not None and low < high and not _on_grid(high, low, step):
        reached = low + math.floor((high - low) / step) * step
        errors.append(f"{path}.high: {high} is not low plus a multiple of step; use {reached:g}")
    return parameter


def _parse_choice(
    kind: type[Any], values: dict[Any, Any], path: str, errors: list[str]
) -> Parameter | None:
    errors += [
        f"{path}.{key}: unknown key{suggest(str(key), ['values'])}"
        for key in values
        if key != "values"
    ]
    listed = values.get("values")
    if not isinstance(listed, list) or len(listed) < 2:
        errors.append(f"{path}.values: must be a list of at least two values but got {listed!r}")
        return None
    frozen = tuple(freeze(value) for value in listed)
    parameter: ChoiceParameter = kind(frozen)
    for index, value in enumerate(frozen):
        parts = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(part, str | int | float) for part in parts):
            errors.append(
                f"{path}.values[{index}]: must be text, a number, true, false or a flat list of"
                f" those but got {listed[index]!r}"
            )
        elif any(parameter.store(value) == parameter.store(other) for other in frozen[:index]):
            errors.append(f"{path}.values[{index}]: {listed[index]!r} is given twice")
    return parameter


def _on_grid(value: float, low: float, step: float) -> bool:
    steps = (value - low) / step
    return math.isclose(steps, round(steps), abs_tol=1e-8)


def _same(one: Any, other: Any) -> bool:
    """Say whether two values are equal and of one kind: 1 is not True, but 1 is 1.0."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
