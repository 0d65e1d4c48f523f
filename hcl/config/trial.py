"""Settings of a trial: benchmark, scenario, target, method, training, seed.

A setting has one name everywhere, from YAML to table: `method/beta`, `train/lr`, `scenario`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hcl.config import benchmark, methods, plugins, rules, target, train
from hcl.config.benchmark import BenchmarkConfig
from hcl.config.methods import METHOD_CONFIGS, MethodConfig, ScenarioName
from hcl.config.schema import (
    TOP,
    ConfigError,
    added_later_at_default,
    build_groups,
    flatten,
    suggest,
)
from hcl.config.target import TargetConfig
from hcl.config.train import SPEED_ONLY, TrainConfig

GROUPS = {
    "benchmark": benchmark.GROUP,
    "target": target.GROUP,
    "train": train.GROUP,
    "method": methods.GROUP,
    TOP: rules.GROUP,
}
# Settings whose value may be an import path.
IMPORTED = ("method/name", "target/network", "benchmark/data", "benchmark/sequence")


@dataclass(frozen=True)
class TrialConfig:
    """Settings of one trial: all that decides its result, nothing else (no paths, no device).

    `code` is the digest of what import paths among the settings name; "" where there is none.
    """

    benchmark: BenchmarkConfig
    scenario: ScenarioName
    eval_scenarios: tuple[ScenarioName, ...]
    target: TargetConfig
    method: MethodConfig
    train: TrainConfig
    seed: int
    code: str = ""

    @property
    def method_name(self) -> str:
        """Registry key of the method, or its import path."""
        return self.method.name

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrialConfig":
        """Build a trial from nested, flat (`method/beta`) or mixed keys.

        Raises:
            ConfigError: names every unknown key, wrong type, value out of range and unsupported
                combination.
        """
        errors: list[str] = []
        flat = flatten(values)
        recorded = flat.pop("code", None)
        made = build_groups(GROUPS, flat, errors)
        errors += rules.find_problems(made)
        if errors:
            raise ConfigError(errors)
        top = made.pop(TOP)
        scored = top.eval_scenarios or (top.scenario,)
        config = cls(scenario=top.scenario, eval_scenarios=scored, seed=top.seed, **made)
        paths = imported_paths(config.to_dict())
        code = plugins.digest(paths)
        if recorded not in (None, code):
            raise ConfigError(
                f"code: was {recorded} and is {code or 'none'} now: the code of"
                f" {', '.join(paths) or 'these settings'} changed; restore it or leave code out"
            )
        return replace(config, code=code)

    def no_replicas(self) -> list[str]:
        """List why several seeds of it cannot be trained as a batch; empty = they can."""
        return rules.no_replicas(self.method, self.target, self.train, self.benchmark)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings flat, as JSON takes them: {"method/name": "hnet", ..., "seed": 1}."""
        flat = flatten(asdict(self))
        if not self.code:
            del flat["code"]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in flat.items()}

    def digest(self, without_seed: bool = False) -> str:
        """Name this configuration (or, `without_seed`, all its seeds) with 12 hex characters."""
        left_out = {*SPEED_ONLY, *self._added_later_at_default()}
        if without_seed:
            left_out.add("seed")
        kept = {key: value for key, value in self.to_dict().items() if key not in left_out}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]

    def _added_later_at_default(self) -> Iterator[str]:
        """Name the settings that change no digest recorded before they existed."""
        for name in GROUPS.keys() - {TOP}:
            for field in added_later_at_default(getattr(self, name)):
                yield f"{name}/{field}"


def as_trial(config: TrialConfig | Mapping[str, Any]) -> TrialConfig:
    """Make a trial of a user's settings, nested or flat, unless it is one.

    Raises:
        ConfigError: every mistake in them.
    """
    return config if isinstance(config, TrialConfig) else TrialConfig.from_dict(config)


def imported_paths(values: Mapping[str, Any]) -> list[str]:
    """List the import paths among flat settings."""
    named: list[Any] = []
    for key in IMPORTED:
        value = values.get(key)
        named += value if isinstance(value, list | tuple) else [value]
    return [path for path in named if plugins.is_import_path(path)]


def known_keys(method: str) -> list[str]:
    """List the full name of every setting of a trial of this method.

    Raises:
        ConfigError: the method is unknown.
    """
    if method not in METHOD_CONFIGS:
        raise ConfigError(
            f"method/name: unknown method {method!r}{suggest(method, METHOD_CONFIGS)}"
        )
    kinds = {"method": METHOD_CONFIGS[method]}
    return [key for name, group in GROUPS.items() for key in group.keys(name, kinds.get(name))]
