"""What a trial is: benchmark, scenario, target, method, training, seed. Frozen and torch-free.

A setting has one name everywhere, from YAML to table: `method/beta`, `train/lr`, `scenario`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from hcl.method_configs import METHOD_CONFIGS, MethodConfig, ScenarioName, method_name
from hcl.schema import ConfigError, build, flatten, setting, suggest
from hcl.target_config import TargetConfig, build_target, has_batch_norm, takes_vectors

__all__ = [
    "BENCHMARK_DEFAULTS",
    "BenchmarkConfig",
    "ConfigError",
    "TargetConfig",
    "TrainConfig",
    "TrialConfig",
    "flatten",
    "known_keys",
]


@dataclass(frozen=True)
class BenchmarkConfig:
    """Data, split and order of a task sequence. Defaults depend on the benchmark's name."""

    name: str = "split_mnist"
    num_tasks: int = setting(5, ge=1)
    classes_per_task: int = setting(2, ge=1)  # a task of regression has 1 output
    padding: int = setting(0, ge=0)  # zero pixels added on each side
    val_fraction: float = setting(0.0, ge=0, lt=1)  # of each task's training data; 0 = the paper's
    seed: int = setting(42, ge=0)  # permutations and validation split; the same for all trials


# What a benchmark's own settings are when a file does not say (PAPER.md, section 3).
BENCHMARK_DEFAULTS: dict[str, dict[str, Any]] = {
    "split_mnist": {"num_tasks": 5, "classes_per_task": 2, "padding": 0},
    "permuted_mnist": {"num_tasks": 10, "classes_per_task": 10, "padding": 2},
    "split_digits": {"num_tasks": 5, "classes_per_task": 2, "padding": 0},
    "permuted_digits": {"num_tasks": 5, "classes_per_task": 10, "padding": 0},
    "toy_regression": {"num_tasks": 3, "classes_per_task": 1, "padding": 0},
    "cifar_6": {"num_tasks": 6, "classes_per_task": 10, "padding": 0},
    "split_cifar10": {"num_tasks": 5, "classes_per_task": 2, "padding": 0},
    "split_cifar100": {"num_tasks": 10, "classes_per_task": 10, "padding": 0},
}
REGRESSION = ("toy_regression",)  # benchmarks that are scored by their squared error
# Benchmarks whose inputs are images, (channels, height, width); the others' are vectors.
IMAGES = ("cifar_6", "split_cifar10", "split_cifar100")


@dataclass(frozen=True)
class TrainConfig:
    """Optimization, the same for every task of the sequence."""

    iterations: int = setting(2000, ge=1)  # steps per task
    batch_size: int = setting(128, ge=1)
    lr: float = setting(1e-3, gt=0)  # Adam
    adam_beta1: float = setting(0.9, ge=0, lt=1)
    adam_beta2: float = setting(0.999, ge=0, lt=1)
    augment: bool = False  # random crops and flips of training images (hcl/augment.py)
    eval_batch_size: int = setting(2000, ge=1)  # changes speed and memory, never the result
    # Compile parts of a hypernetwork's step: where it saves more time than it takes, or always.
    # Changes the result within float tolerance, as another machine does.
    compile: Literal["auto", "on", "off"] = "auto"
    num_replicas: int = setting(1, ge=1)  # seeds trained at a time, as a batch; changes speed


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
        top = build(_Top, ungrouped, "", errors)
        if method and top:
            errors += _check_scenarios(method, top)
        if method and benchmark and top:
            errors += _check_regression(method, benchmark, top)
        if benchmark and target and train:
            errors += _check_images(benchmark, target, train)
        if method and target and top:
            errors += _check_batch_norm(method, target, top)
        if method and benchmark:
            errors += [f"method/{problem}" for problem in method.check(benchmark.num_tasks)]
        if method and target and train and train.num_replicas > 1:
            errors += [f"{why}; leave it out" for why in _no_replicas(method, target)]
        if errors or not (benchmark and target and method and train and top):
            raise ConfigError(errors)
        scored = top.eval_scenarios or (top.scenario,)
        return cls(benchmark, top.scenario, scored, target, method, train, top.seed)

    def no_replicas(self) -> list[str]:
        """Why several of its seeds cannot be trained as a batch; empty = they can."""
        return _no_replicas(self.method, self.target)

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


@dataclass(frozen=True)
class _Top:
    scenario: ScenarioName = "task"
    eval_scenarios: tuple[ScenarioName, ...] = ()
    seed: int = setting(1, ge=0)


def _no_replicas(method: MethodConfig, target: TargetConfig) -> list[str]:
    why = [f"{method_name(method)} {why}" for why in [method.no_replicas()] if why]
    if target.network != "mlp":
        why.append(f"{target.network} trains one seed at a time")
    return [f"train/num_replicas: {reason}" for reason in why]


def _check_batch_norm(method: MethodConfig, target: TargetConfig, top: "_Top") -> list[str]:
    if not has_batch_norm(target.network):
        return []
    name, chosen = method_name(method), target.batch_norm
    if chosen not in method.BATCH_NORM:
        return [
            f"target/batch_norm: {name} cannot keep its statistics {chosen}; use"
            f" {' or '.join(method.BATCH_NORM)}"
        ]
    untold = sorted({top.scenario, *top.eval_scenarios} - {"task"})
    if chosen == "per_task" and untold and not method.INFERS_TASK:
        return [
            f"target/batch_norm: {name} does not know the task in the {untold[0]} scenario and"
            " cannot choose its statistics; use shared"
        ]
    return []


def _check_images(
    benchmark: BenchmarkConfig, target: TargetConfig, train: TrainConfig
) -> list[str]:
    if benchmark.name in IMAGES:
        return []
    errors = []
    if not takes_vectors(target.network):
        errors.append(
            f"target/network: {target.network} takes images and {benchmark.name} has vectors; use"
            f" mlp, or one of the benchmarks {', '.join(IMAGES)}"
        )
    if train.augment:
        errors.append(
            f"train/augment: {benchmark.name} has no images to crop and flip; leave it out, or"
            f" use one of {', '.join(IMAGES)}"
        )
    return errors


def _check_regression(method: MethodConfig, benchmark: BenchmarkConfig, top: "_Top") -> list[str]:
    if benchmark.name not in REGRESSION:
        return []
    errors = []
    if not method.REGRESSION:
        can = ", ".join(name for name, kind in METHOD_CONFIGS.items() if kind.REGRESSION)
        errors.append(
            f"method/name: {method_name(method)} cannot learn {benchmark.name}, which is a"
            f" regression; use one of {can}"
        )
    if {top.scenario, *top.eval_scenarios} != {"task"}:
        errors.append(
            f"scenario: {benchmark.name} is a regression, whose task must be given; use task"
        )
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
    return ["method/name", *keys, *(f.name for f in fields(_Top))]


def _take_unknown(ungrouped: dict[str, Any], method: MethodConfig | None) -> list[str]:
    """Remove the keys that no group has and say what may be meant, in any group."""
    top = [f.name for f in fields(_Top)]
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
        from hcl.benchmarks.limits import check  # not at the top: limits reads BenchmarkConfig

        errors += check(config)
    return config


def _check_scenarios(method: MethodConfig, top: _Top) -> list[str]:
    name = method_name(method)
    if top.scenario not in method.SCENARIOS:
        return [
            f"scenario: {name} cannot be trained in the {top.scenario} scenario"
            f" ({method.WHY_NOT}); use {' or '.join(method.SCENARIOS)}"
        ]
    twice = {s: None for s in top.eval_scenarios if top.eval_scenarios.count(s) > 1}
    scored = (top.scenario, *method.ALSO_SCORES.get(top.scenario, ()))
    return [f"eval_scenarios: {extra} is given twice, remove one" for extra in twice] + [
        f"eval_scenarios: {name} trained in the {top.scenario} scenario cannot be scored in"
        f" the {extra} scenario; use {' or '.join(scored)}"
        for extra in top.eval_scenarios
        if extra not in scored
    ]
