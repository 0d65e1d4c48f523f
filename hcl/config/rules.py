"""What settings of several groups allow each other: a sentence per problem."""

from dataclasses import dataclass

from hcl.config.benchmark import IMAGES, REGRESSION, BenchmarkConfig
from hcl.config.methods import METHOD_CONFIGS, MethodConfig, ScenarioName, method_name
from hcl.config.schema import setting
from hcl.config.target import TargetConfig, has_batch_norm, takes_vectors
from hcl.config.train import TrainConfig


@dataclass(frozen=True)
class Top:
    """Settings of no group."""

    scenario: ScenarioName = "task"
    eval_scenarios: tuple[ScenarioName, ...] = ()
    seed: int = setting(1, ge=0)


def no_replicas(method: MethodConfig, target: TargetConfig, train: TrainConfig) -> list[str]:
    """Why several seeds cannot be trained as a batch; empty = they can."""
    why = [f"{method_name(method)} {why}" for why in [method.no_replicas()] if why]
    if target.network != "mlp":
        why.append(f"{target.network} trains one seed at a time")
    if train.is_scheduled:
        why.append("a learning rate that changes (lr_steps, plateau_patience) is of one seed")
    return [f"train/num_replicas: {reason}" for reason in why]


def check_batch_norm(method: MethodConfig, target: TargetConfig, top: Top) -> list[str]:
    """Whose running statistics are used must be known at test."""
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


def check_images(
    benchmark: BenchmarkConfig, target: TargetConfig, train: TrainConfig
) -> list[str]:
    """What needs images is refused where there are vectors."""
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


def check_regression(method: MethodConfig, benchmark: BenchmarkConfig, top: Top) -> list[str]:
    """A regression has its own methods and one scenario."""
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


def check_scenarios(method: MethodConfig, top: Top) -> list[str]:
    """Where a method can be trained and scored."""
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
