"""`hcl new sweep`: a search space to start from, written from the settings' own schema."""

import textwrap
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer
import yaml

from hcl.config import ConfigError
from hcl.config.benchmark.info import BENCHMARKS
from hcl.config.methods import METHOD_CONFIGS
from hcl.config.schema import suggest
from hcl.config.trial import GROUPS
from sweeps.commands.options import say
from sweeps.space.json_schema import settings_schema
from sweeps.space.settings import SweepSettings

WIDTH = 99
HEAD = """\
# yaml-language-server: $schema=schema.json
# With schema.json beside it (hcl settings --json-schema > schema.json) an editor completes this
# file. What is behind a # is a setting at its default; hcl validate FILE checks all.
"""

Kind = Annotated[Literal["sweep"], typer.Argument(metavar="sweep", help="What to write.")]
Method = Annotated[str, typer.Option(help="Its method, see hcl settings method.")]
Benchmark = Annotated[str, typer.Option(help="Its benchmark, see hcl settings benchmark/name.")]


def new(kind: Kind, method: Method = "hnet", benchmark: Benchmark = "split_mnist") -> None:
    """Write a search space with every setting explained, to start your own from.

    \b
    Examples:
      hcl new sweep > mine.yaml
      hcl new sweep --method si --benchmark permuted_mnist > mine.yaml
    """
    for option, given, known in (("--method", method, METHOD_CONFIGS),
                                 ("--benchmark", benchmark, BENCHMARKS)):  # fmt: skip
        if given not in known:
            raise ConfigError(f"{option} {given!r}: there is none{suggest(given, known)}")
    say({"sweep": starting_space}[kind](method, benchmark).rstrip("\n"))


def starting_space(method: str, benchmark: str) -> str:
    """Write a valid search space of a method on a benchmark, with all that may be set."""
    config = METHOD_CONFIGS[method]
    scenario = config.SCENARIOS[0]
    is_regression = BENCHMARKS[benchmark].is_regression
    score, mode = ("average_mse", "min") if is_regression else ("average_accuracy", "max")
    given: dict[str, dict[str, Any]] = {
        "benchmark": {"name": benchmark, "val_fraction": 0.1},
        "target": {"network": "mlp"},
        "method": {"name": method},
        "train": {"iterations": 2000},
    }
    lines = [f"description: {config.label(scenario)} on {benchmark}", "trial:"]
    lines.append(f"  scenario: {scenario}")
    for name, values in given.items():
        kind, defaults = GROUPS[name].choices[values.get("name", GROUPS[name].default)]
        lines += [f"  {name}:", *_settings(kind, values, defaults, "    ")]
    sweep = {"num_trials": 20, "seeds": [1], "objective": f"val/{scenario}/{score}", "mode": mode}
    lines += ["search:", *_searched(config), "sweep:", *_settings(SweepSettings, sweep, {}, "  ")]
    return HEAD + "\n".join(lines) + "\n"


def _settings(kind: type, given: dict[str, Any], defaults: Any, indent: str) -> Iterator[str]:
    """Write the given settings, then the others with their meaning behind a #."""
    known = settings_schema(kind)
    for key, value in given.items():
        yield f"{indent}{key}: {_plain(value)}"
    for key, schema in known.items():
        if key not in given and (key in defaults or "default" in schema):
            start = f"{indent}# "
            yield from textwrap.wrap(schema["description"], WIDTH, initial_indent=start,
                                     subsequent_indent=start)  # fmt: skip
            value = defaults.get(key, schema.get("default"))
            yield f"{indent}#{key}: {_plain(value)}"


def _searched(config: type) -> Iterator[str]:
    """Search the learning rate and the method's first strength; offer its other numbers."""
    behind = ""
    yield "  train/lr: {type: float, low: 1.0e-4, high: 1.0e-2, log: true}"
    for key, one in settings_schema(config).items():
        value, kind = one.get("default"), one.get("type")
        if kind == "number" and value and not {"maximum", "exclusiveMaximum"} & set(one):
            low, high = _plain(value / 10), _plain(value * 10)
            yield f"  {behind}method/{key}: {{type: float, low: {low}, high: {high}, log: true}}"
            behind = "#"
        elif kind == "integer" and value:
            yield f"  #method/{key}: {{type: int, low: {max(1, value // 2)}, high: {2 * value}}}"


def _plain(value: Any) -> str:
    """Write a value as YAML reads it, on one line."""
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")
