"""Compare the rules that infer an input's task, all from one training."""

from dataclasses import replace
from typing import Any, NamedTuple, get_args

from hcl.benchmarks.arrays import Benchmark
from hcl.config import ConfigError
from hcl.config.methods import HnetConfig, ScenarioName
from hcl.learners.learner import Learner
from hcl.methods.hnet import Hnet
from hcl.training.evaluate import evaluate_row

RULES: tuple[Any, ...] = get_args(HnetConfig.__annotations__["inference"])


class RuleScore(NamedTuple):
    """Result of a rule: for each task a share of its test inputs.

    Attributes:
        accuracy: answered right, the task not given.
        inferred: whose task was inferred right.
    """

    accuracy: list[float]
    inferred: list[float]


def score_rules(learner: Learner, benchmark: Benchmark) -> dict[str, RuleScore]:
    """Score a trained HNET on test data by each rule of `method/inference`.

    Args:
        learner: of `hnet`; one trained with `inference: gap_zscore` is scored by every rule, one
            trained with another by all but that one, for the gaps of its tasks were not noted.
        benchmark: its tasks.

    Raises:
        ConfigError: the learner's method has no choice of rules.
    """
    method = learner.method
    if not isinstance(method, Hnet) or not method.config.CHOOSES_RULE:
        raise ConfigError(f"{learner.config.method_name} has no choice of method/inference")
    own = method.config
    learned = benchmark.tasks[: method.num_learned]
    scenario: ScenarioName = "domain" if method.layout.scenario == "domain" else "class"
    found = {}
    try:
        for rule in RULES:
            if rule != "gap_zscore" or method.gaps:
                method.config = replace(own, inference=rule)
                row = evaluate_row(method.eval(), learned, scenario, 0)["test"]
                found[rule] = RuleScore(*row)
    finally:
        method.config = own
    return found
