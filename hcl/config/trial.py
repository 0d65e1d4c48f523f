"""What a trial is: benchmark, scenario, target, method, training, seed. Frozen and torch-free.

A setting has one name everywhere, from YAML to table: `method/beta`, `train/lr`, `scenario`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from hcl.config import rules as checks
from hcl.config.benchmark import BENCHMARK_DEFAULTS, IMAGES, REGRESSION, BenchmarkConfig
from hcl.config.methods import METHOD_CONFIGS, MethodConfig, ScenarioName, method_name
from hcl.config.rules import Top
from hcl.config.schema import ConfigError, build, flatten, suggest
from hcl.config.target import TargetConfig, build_target
from hcl.config.train import TrainConfig

__all__ = [
    "BENCHMARK_DEFAULTS",
    "IMAGES",
    "REGRESSION",
    "BenchmarkConfig",
    "ConfigError",
    "TargetConfig",
    "TrainConfig",
    "TrialConfig",
    "flatten",
    "known_keys",
]


# Settings that came after results had been recorded: at their default they are not in a digest, so
# that the old results are still found.
_YOUNGER: dict[str, Any] = {
    "method/reg_precision": "float32",
    "method/init": "xavier",
    "target/activation": "relu",
    "target/batch_norm": "per_task",
    "target/conv_dropout": 0.0,
    "target/fc_dropout": 0.0,
    "target/weights": "",
    "train/augment": False,
    "train/epochs": 0.0,
    "train/lr_steps": [],
    "train/lr_factors": [],
    "train/plateau_patience": 0,
    "train/plateau_factor": 0.1**0.5,
    "train/plateau_min_lr": 5e-7,
    "method/generate": "all",
    "method/shared": "once",
    "method/chunk_groups": [],
}
# They say how fast a result comes, not what it is: in no digest.
SPEED_ONLY = ("train/eval_batch_size", "train/compile", "train/num_replicas")
_GROUPS: dict[str, type] = {
    "benchmark": BenchmarkConfig,
    "target": TargetConfig,
    "train": TrainConfig,
}


@dataclass(frozen=True)
class TrialConfig:
    """One trial: everything that decides its result, and nothing else (no paths, no device)."""

    benchmark: BenchmarkConfig
    scenario: ScenarioName
    eval_scenarios: tuple[ScenarioName, ...]
    target: TargetConfig
    method: MethodConfig
    train: TrainConfig
    seed: int

    @property
    def method_name(self) -> str:
        """Registry key of the method."""
        return method_name(self.method)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrialConfig":
        """Build from nested, flat (`method/beta`) or mixed keys.

        Raises:
            ConfigError: with every unknown key, wrong type, value out of range and unsupported
                combination of the dict.
        """
        flat = flatten(values)
        errors = [
            f"{group}: must be a mapping of its settings but got {flat[group]!r}"
            for group in (*_GROUPS, "method")
            if group in flat
        ]
        method = _build_method(flat, errors)
        benchmark = _build_benchmark(flat, errors)
        target = build_target(_group(flat, "target"), errors)
        train = build(TrainConfig, _group(flat, "train"), "train/", errors)
        ungrouped = {k: v for k, v in flat.items() if k.split("/")[0] not in (*_GROUPS, "method")}
        errors += _take_unknown(ungrouped, method)
        top = build(Top, ungrouped, "", errors)
        errors += _combined(method, benchmark, target, train, top)
        if errors or not (benchmark and target and method and train and top):
            raise ConfigError(errors)
        scored = top.eval_scenarios or (top.scenario,)
        return cls(benchmark, top.scenario, scored, target, method, train, top.seed)

    def no_replicas(self) -> list[str]:
        """Why several of its seeds cannot be trained as a batch; empty = they can."""
        return checks.no_replicas(self.method, self.target, self.train)

    def to_dict(self) -> dict[str, Any]:
        """Flat and JSON-able: `{"benchmark/name": ..., "method/name": "hnet", ..., "seed": 1}`."""
        nested = asdict(self)
        nested["method"] = {"name": self.method_name, **nested["method"]}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in flatten(nested).items()}

    def digest(self, without_seed: bool = False) -> str:
        """12 hex characters that name this configuration (or, `without_seed`, all its seeds)."""
        flat = self.to_dict()
        if without_seed:
            del flat["seed"]
        for key in SPEED_ONLY:
            del flat[key]
        for key, default in _YOUNGER.items():
            if flat.get(key) == default:
                del flat[key]
        return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:12]


def _combined(
    method: MethodConfig | None,
    benchmark: BenchmarkConfig | None,
    target: TargetConfig | None,
    train: TrainConfig | None,
    top: Top | None,
) -> list[str]:
    """Problems of several groups together, as far as each group is right in itself."""
    errors = []
    if method and top:
        errors += checks.check_scenarios(method, top)
    if method and benchmark and top:
        errors += checks.check_regression(method, benchmark, top)
    if benchmark and target and train:
        errors += checks.check_images(benchmark, target, train)
    if method and target and top:
        errors += checks.check_batch_norm(method, target, top)
    if method and benchmark:
        errors += [f"method/{problem}" for problem in method.check(benchmark.num_tasks)]
    if benchmark and train:
        errors += train.check(benchmark.val_fraction)
    if method and target and train and train.num_replicas > 1:
        errors += [f"{why}; leave it out" for why in checks.no_replicas(method, target, train)]
    return errors


def known_keys(method: str) -> list[str]:
    """Every key of a trial of this method, in its one name.

    Raises:
        ConfigError: the method is unknown.
    """
    if method not in METHOD_CONFIGS:
        raise ConfigError(
            f"method/name: unknown method {method!r}{suggest(method, METHOD_CONFIGS)}"
        )
    groups = {**_GROUPS, "method": METHOD_CONFIGS[method]}
    keys = [f"{group}/{f.name}" for group, kind in groups.items() for f in fields(kind)]
    return ["method/name", *keys, *(f.name for f in fields(Top))]


def _take_unknown(ungrouped: dict[str, Any], method: MethodConfig | None) -> list[str]:
    """Remove the keys that no group has and say what may be meant, in any group."""
    top = [f.name for f in fields(Top)]
    known = known_keys(method_name(method) if method else "hnet")
    shown = [*top, *(f"{group}/..." for group in (*_GROUPS, "method"))]
    errors = []
    for key in [key for key in ungrouped if key not in top]:
        del ungrouped[key]
        fix = suggest(key, known)
        errors.append(f"{key}: unknown key{fix if 'did you' in fix else suggest(key, shown)}")
    return errors


def _group(flat: dict[str, Any], name: str) -> dict[str, Any]:
    return {k.removeprefix(f"{name}/"): v for k, v in flat.items() if k.startswith(f"{name}/")}


def _build_method(flat: dict[str, Any], errors: list[str]) -> MethodConfig | None:
    values = _group(flat, "method")
    name = values.pop("name", "hnet")
    if not isinstance(name, str) or name not in METHOD_CONFIGS:
        errors.append(f"method/name: unknown method {name!r}{suggest(str(name), METHOD_CONFIGS)}")
        return None
    return build(METHOD_CONFIGS[name], values, "method/", errors)


def _build_benchmark(flat: dict[str, Any], errors: list[str]) -> BenchmarkConfig | None:
    values = _group(flat, "benchmark")
    name = values.get("name", BenchmarkConfig.name)
    if not isinstance(name, str) or name not in BENCHMARK_DEFAULTS:
        errors.append(
            f"benchmark/name: unknown benchmark {name!r}" + suggest(str(name), BENCHMARK_DEFAULTS)
        )
        return None
    config = build(BenchmarkConfig, {**BENCHMARK_DEFAULTS[name], **values}, "benchmark/", errors)
    if config:
        from hcl.config.benchmark import check  # not at the top: limits reads BenchmarkConfig

        errors += check(config)
    return config
