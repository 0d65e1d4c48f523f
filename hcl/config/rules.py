"""Rules that the groups of settings must keep, alone and together: a sentence per problem."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hcl.config.benchmark import BENCHMARKS, BenchmarkConfig
from hcl.config.methods import METHOD_CONFIGS, MethodConfig, ScenarioName
from hcl.config.schema import Group, setting
from hcl.config.target import TargetConfig, has_batch_norm, takes_vectors
from hcl.config.train import TrainConfig


@dataclass(frozen=True)
class TopLevel:
    """Settings of a trial that are in no group."""

    # What is known of an input at test: its task (CL1), nothing with one head for all tasks (CL2),
    # nothing with one head per task (CL3). The training differs too.
    scenario: ScenarioName = "task"
    # Scenarios that the training is scored in, where one fits several; [] = the scenario alone.
    eval_scenarios: tuple[ScenarioName, ...] = ()
    seed: int = setting(1, ge=0)  # for initial weights and the order of batches


GROUP = Group({"": (TopLevel, {})})


def no_replicas(
    method: MethodConfig, target: TargetConfig, train: TrainConfig, benchmark: BenchmarkConfig
) -> list[str]:
    """List why several seeds cannot be trained as a batch; empty = they can."""
    is_ours = method.name in METHOD_CONFIGS  # replicas are trained by our own code
    own = method.no_replicas() if is_ours else "trains one seed at a time"
    why = [f"{method.name} {own}"] if own else []
    if target.network != "mlp":
        why.append(f"{target.network} trains one seed at a time")
    if train.is_scheduled:
        why.append(
            "seeds whose learning rate changes (lr_steps, plateau_patience) train one at a time"
        )
    if benchmark.order_seed == "trial":
        why.append(
            "seeds that each have tasks of their own (order_seed trial) train one at a time"
        )
    if train.kernels == "plain":
        why.append("seeds with train/kernels plain train one at a time")
    return [f"train/num_replicas: {reason}" for reason in why]


def check_replicas(
    method: MethodConfig, target: TargetConfig, train: TrainConfig, benchmark: BenchmarkConfig
) -> list[str]:
    """Refuse a batch of seeds that cannot be trained as one."""
    if train.num_replicas == 1:
        return []
    return [f"{why}; leave it out" for why in no_replicas(method, target, train, benchmark)]


def check_kernels(method: MethodConfig, train: TrainConfig) -> list[str]:
    """Refuse a precision that the plain parts do not have."""
    is_bfloat16 = getattr(method, "reg_precision", "float32") == "bfloat16"
    if train.kernels == "plain" and is_bfloat16:
        return ["train/kernels: plain multiplies in float32; leave method/reg_precision out"]
    return []


def check_method(method: MethodConfig, benchmark: BenchmarkConfig) -> list[str]:
    """Ask the method for its own rules."""
    return [f"method/{problem}" for problem in method.check(benchmark.num_tasks)]


def check_validation(benchmark: BenchmarkConfig, train: TrainConfig) -> list[str]:
    """Refuse to watch validation data where there are none."""
    if benchmark.val_fraction > 0 or benchmark.may_bring_validation:
        return []
    fix = "set benchmark/val_fraction above 0, e.g. to 0.1"
    what = {
        "plateau_patience": "watches validation data, never test data as the paper's code did",
        "eval_every": "scores validation data, never test data",
    }
    return [f"train/{key}: {why}; {fix}" for key, why in what.items() if getattr(train, key)]


def check_zero_shot(top: TopLevel, train: TrainConfig) -> list[str]:
    """Refuse to score tasks before they are learned where their outputs are not trained yet."""
    if not train.zero_shot or top.scenario == "domain":
        return []
    return [
        f"train/zero_shot: in the {top.scenario} scenario a task's outputs are untrained before"
        " the task is learned; use scenario domain, or leave it out"
    ]


def check_batch_norm(method: MethodConfig, target: TargetConfig, top: TopLevel) -> list[str]:
    """Refuse running statistics that cannot be chosen at test."""
    if not has_batch_norm(target.network):
        return []
    name, chosen = method.name, target.batch_norm
    if chosen not in method.BATCH_NORM:
        return [
            f"target/batch_norm: {name} cannot keep its statistics {chosen}; use"
            f" {' or '.join(method.BATCH_NORM)}"
        ]
    not_given = sorted({top.scenario, *top.eval_scenarios} - {"task"})
    if chosen == "per_task" and not_given and not method.INFERS_TASK:
        return [
            f"target/batch_norm: {name} does not know the task in the {not_given[0]} scenario and"
            " cannot choose its statistics; use shared"
        ]
    return []


def check_images(
    benchmark: BenchmarkConfig, target: TargetConfig, train: TrainConfig
) -> list[str]:
    """Refuse what needs images where inputs are vectors."""
    if benchmark.info.has_images or benchmark.is_own:  # own data are looked at when read
        return []
    others = ", ".join(name for name, info in BENCHMARKS.items() if info.has_images)
    errors = []
    if not takes_vectors(target.network):
        errors.append(
            f"target/network: {target.network} takes images and {benchmark.name} has vectors; use"
            f" mlp, or one of the benchmarks {others}"
        )
    if train.augment:
        errors.append(
            f"train/augment: {benchmark.name} has no images to crop and flip; leave it out, or"
            f" use one of {others}"
        )
    return errors


def check_regression(
    method: MethodConfig, benchmark: BenchmarkConfig, top: TopLevel, train: TrainConfig
) -> list[str]:
    """Refuse for a regression what needs classes, and a task that is not given."""
    if not benchmark.info.is_regression:
        return []
    errors = []
    if not method.REGRESSION:
        can = ", ".join(name for name, kind in METHOD_CONFIGS.items() if kind.REGRESSION)
        errors.append(
            f"method/name: {method.name} cannot learn {benchmark.name}, which is a"
            f" regression; use one of {can}"
        )
    labels = getattr(method, "fisher_labels", "true")
    if method.REGRESSION and labels not in ("true", "expected"):
        errors.append(
            f"method/fisher_labels: {benchmark.name} is a regression, whose labels are numbers,"
            f" but got {labels}; use expected or true"
        )
    if {top.scenario, *top.eval_scenarios} != {"task"}:
        errors.append(
            f"scenario: {benchmark.name} is a regression, whose task must be given; use task"
        )
    if train.label_smoothing:
        errors.append(
            f"train/label_smoothing: {benchmark.name} is a regression and has no labels but got"
            f" {train.label_smoothing}; leave it out"
        )
    return errors


def check_scenarios(method: MethodConfig, top: TopLevel) -> list[str]:
    """Refuse scenarios that the method cannot be trained or scored in."""
    name = method.name
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


# Each rule with the groups that it looks at. A new rule is a function and a line here.
RULES: tuple[tuple[Callable[..., list[str]], tuple[str, ...]], ...] = (
    (BenchmarkConfig.check, ("benchmark",)),
    (TargetConfig.check, ("target",)),
    (TrainConfig.check, ("train",)),
    (check_method, ("method", "benchmark")),
    (check_scenarios, ("method", "top")),
    (check_regression, ("method", "benchmark", "top", "train")),
    (check_images, ("benchmark", "target", "train")),
    (check_batch_norm, ("method", "target", "top")),
    (check_validation, ("benchmark", "train")),
    (check_zero_shot, ("top", "train")),
    (check_kernels, ("method", "train")),
    (check_replicas, ("method", "target", "train", "benchmark")),
)


def find_problems(made: Mapping[str, Any]) -> list[str]:
    """List every rule that is broken.

    Args:
        made: group -> its settings; None for a group with mistakes, whose rules are left out.
    """
    errors = []
    for rule, names in RULES:
        groups = [made[name] for name in names]
        if all(group is not None for group in groups):
            errors += rule(*groups)
    return errors
