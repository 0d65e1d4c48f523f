"""Names and units of methods and metrics, as tables and messages show them.

Commands and the progress line import this module, so it imports only light ones.
"""

from hcl.config.methods import ALL as SCENARIOS
from hcl.config.methods import METHOD_CONFIGS

UNITS = "mean ± SEM (n seeds); a single seed has no SEM"


def label(method: str, scenario: str) -> str:
    """Return a method's name in a table; a method that is not ours keeps its key."""
    config = METHOD_CONFIGS.get(method)
    return config.label(scenario) if config else method


def labels() -> list[str]:
    """Return the names of all methods, in the order of a table's columns."""
    found = [c.label(scenario) for c in METHOD_CONFIGS.values() for scenario in SCENARIOS]
    return list(dict.fromkeys(found))


def heading(name: str) -> str:
    """Write a metric's name in words, which a narrow column can break into lines."""
    words = " ".join(name.rsplit("/", 1)).replace("_", " ")
    return f"{words} (%)" if is_fraction(name) else words


def is_fraction(name: str) -> bool:
    """Return whether a metric is an accuracy or a difference of two, shown in percent."""
    return any(word in name for word in ("accuracy", "forgetting", "transfer"))


def mode_of(name: str) -> str:
    """Return which values of a metric are better: "max" or "min"."""
    return "min" if any(word in name for word in ("mse", "forgetting", "seconds")) else "max"


def describe_metric(name: str, value: float) -> str:
    """Write a metric's value as tables show it: accuracies in percent."""
    return f"{100 * value:.2f} %" if is_fraction(name) else f"{value:.4f}"
