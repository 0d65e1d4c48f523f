"""Names and units of methods and metrics, as tables and messages show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hcl.config.methods import ALL as SCENARIOS
from hcl.config.methods import METHOD_CONFIGS

if TYPE_CHECKING:
    import pandas as pd

UNITS = "mean ± SEM (n seeds); n = 1 has no SEM"


def label(method: str, scenario: str) -> str:
    """Return a method's name in a table; a method that is not ours keeps its key."""
    config = METHOD_CONFIGS.get(method)
    return config.label(scenario) if config else method


def labels() -> list[str]:
    """Return the names of all methods, in the order of a table's columns."""
    found = [c.label(scenario) for c in METHOD_CONFIGS.values() for scenario in SCENARIOS]
    return list(dict.fromkeys(found))


def heading(name: str) -> str:
    """A metric's name in words that a narrow column can break into lines."""
    words = " ".join(name.rsplit("/", 1)).replace("_", " ")
    return f"{words} (%)" if is_fraction(name) else words


def is_fraction(name: str) -> bool:
    """Whether a metric is an accuracy or a difference of two, shown in percent."""
    return any(word in name for word in ("accuracy", "forgetting", "transfer"))


def shown(name: str, value: float) -> str:
    """A metric's value as tables show it: accuracies in percent."""
    return f"{100 * value:.2f} %" if is_fraction(name) else f"{value:.4f}"


def spell(params: pd.Series) -> str:
    """beta=0.01 and so on, without the params that only other methods have."""
    return " ".join(f"{name}={_value(value)}" for name, value in params.dropna().items())


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
