"""Names and units of methods and metrics, and numbers, as tables and messages show them.

Commands and the progress line import this module, so it imports only light ones.
"""

from collections.abc import Sequence

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


def short_headings(settings: Sequence[str]) -> dict[str, str]:
    """Head each setting's column by the last part of its name, where no other ends alike."""
    ends = [name.rpartition("/")[2] for name in settings]
    return {
        name: end.replace("_", " ") if ends.count(end) == 1 else name
        for name, end in zip(settings, ends, strict=True)
    }


def is_fraction(name: str) -> bool:
    """Return whether a metric is an accuracy or a difference of two, shown in percent."""
    words = ("accuracy", "forgetting", "transfer", "stability", "intransigence", "zero_shot")
    return any(word in name for word in words)


def scale_of(name: str) -> int:
    """Return what a metric's values are multiplied by where they are shown."""
    return 100 if is_fraction(name) else 1


def mode_of(name: str) -> str:
    """Return which values of a metric are better: "max" or "min"."""
    words = ("mse", "forgetting", "intransigence", "seconds", "flops")
    return "min" if any(word in name for word in words) else "max"


def describe_metric(name: str, value: float) -> str:
    """Write a metric's value as tables show it: accuracies in percent, counts without a point."""
    if name.startswith(("num_", "flops/")):
        return f"{value:.0f}"
    return f"{100 * value:.2f} %" if is_fraction(name) else f"{value:.4f}"


def describe_interval(interval: tuple[float, float] | None) -> str:
    """Write an interval of differences as `[-0.50, +1.25]`; None is empty."""
    return "" if interval is None else "[{:+.2f}, {:+.2f}]".format(*interval)


def short_value(value: object) -> str:
    """Write a setting's value in few characters."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "[]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Write seconds as `0.3 s`, `45 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 9.5 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
