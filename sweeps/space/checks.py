"""Checks that need a whole trial: do the fixed and the searched settings make valid trials?"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hcl.config import TrialConfig
from hcl.config.methods import HnetVaeConfig, HypernetConfig
from sweeps.space.conditions import Conditions
from sweeps.space.parameters import ChoiceParameter, Parameter

if TYPE_CHECKING:
    from sweeps.space.settings import SweepSettings

from dataclasses import dataclass
from typing import Any

from hcl.config import ConfigError

OBJECTIVES = (
    "average_accuracy",
    "learning_accuracy",
    "backward_transfer",
    "forgetting",
    "task_inference_accuracy",
)


def check_trials(
    constants: dict[str, Any],
    parameters: dict[str, Parameter | None],
    conditions: Conditions,
    points: list[dict[str, Any]],
    errors: list[str],
) -> TrialConfig | None:
    """Build trials at every end of every range and at every point; report what they refuse.

    Args:
        constants: flat keys under `trial`.
        parameters: searched keys; None where the range itself is wrong.
        conditions: when each is searched; a key's ends are tried where it is.
        points: flat points to evaluate.
        errors: collects the messages, each with its path in the file.

    Returns:
        The trial at the first end of every range, None if it is not valid.
    """
    if "seed" in constants:
        errors.append("trial.seed: seeds belong to every trial; list them in sweep.seeds")
    if "method/name" not in constants:
        errors.append("trial.method/name: is missing; say which method is searched")
        return None
    good = {key: parameter for key, parameter in parameters.items() if parameter}
    trials = _Trials(constants, good, conditions)
    # A wrong range still names a key that may be unknown: a value of no type shows that alone.
    unknown = {key: None for key in parameters if key not in good}
    config, messages = _try({**trials.start(), **unknown})
    wrong = {_key(message) for message in messages}
    for message in messages:
        if _key(message) in trials.start(searched=True):
            continue  # reported below, with its place in the range
        if _key(message) in unknown and "unknown key" not in message:
            continue  # its range is already reported
        place = "search" if _key(message) in unknown else "trial"
        errors.append(f"{place}.{message}")
    for key, parameter in good.items():
        for corner, value in parameter.corners().items():
            path = f"search.{key}.{corner}"
            _report(trials.start({key: value}), key, path, errors)
    for key in conditions.when.keys() & constants.keys():  # what holds where it is not searched
        _report({**trials.start(), key: constants[key]}, key, f"trial.{key}", errors)
    for index, point in enumerate(points):
        if not wrong & point.keys() and point.keys() <= good.keys():
            _, messages = _try(trials.start(point))
            errors += [f"points_to_evaluate[{index}].{m}" for m in messages if _key(m) in point]
    return config


@dataclass(frozen=True)
class _Trials:
    """Trials of a search, as flat settings."""

    constants: dict[str, Any]
    parameters: dict[str, Parameter]
    conditions: Conditions

    def start(self, given: Mapping[str, Any] = {}, searched: bool = False) -> dict[str, Any]:
        """The first end of every range, `given` values, and what these need to be searched.

        Args:
            given: values of searched keys, as a trial reads them.
            searched: leave the constants out.
        """
        values = {key: next(iter(p.corners().values())) for key, p in self.parameters.items()}
        for key in given:
            for name, allowed in self.conditions.needs(key).items():
                values[name] = self.parameters[name].load(allowed[0])
        values |= given
        stored = {
            key: value if parameter.problem(value := values[key]) else parameter.store(value)
            for key, parameter in self.parameters.items()
        }
        chosen = {key: values[key] for key in self.conditions.searched(stored)}
        return chosen if searched else {**self.constants, **chosen}


def _report(trial: dict[str, Any], key: str, path: str, errors: list[str]) -> None:
    """Add what `trial` says against `key`; unknown keys once, not per corner."""
    for message in _try(trial)[1]:
        if _key(message) != key:
            continue
        unknown = "unknown key" in message
        text = f"search.{message}" if unknown else f"{path}:{message.removeprefix(key + ':')}"
        if text not in errors:
            errors.append(text)


def _try(values: dict[str, Any]) -> tuple[TrialConfig | None, list[str]]:
    try:
        return TrialConfig.from_dict(values), []
    except ConfigError as error:
        return None, error.errors


def check_objective(objective: str, config: TrialConfig, errors: list[str]) -> None:
    """An objective must be something that these trials measure, on validation data."""
    parts = objective.split("/")
    if len(parts) != 3 or parts[0] not in ("val", "test") or parts[2] not in OBJECTIVES:
        errors.append(
            f"sweep.objective: {objective!r} is not val/SCENARIO/METRIC with METRIC one of"
            f" {', '.join(OBJECTIVES)}"
        )
        return
    split, scenario, metric = parts
    if split == "test":
        errors.append(
            f"sweep.objective: {objective} would select on test data; use val/{scenario}/{metric}"
        )
    elif config.benchmark.val_fraction == 0:
        errors.append(
            f"sweep.objective: {objective} needs validation data; set trial.benchmark/val_fraction"
            " to e.g. 0.1"
        )
    if scenario not in config.eval_scenarios:
        errors.append(
            f"sweep.objective: {objective} is not measured; trial.eval_scenarios are"
            f" {', '.join(config.eval_scenarios)}"
        )
    elif metric == "task_inference_accuracy" and (
        scenario == "task" or not config.method.INFERS_TASK
    ):
        errors.append(
            f"sweep.objective: {objective} is not measured; {config.method_name} infers no task"
            f" in the {scenario} scenario"
        )


def _key(message: str) -> str:
    return message.split(":")[0]


WITH_HYPERNET = (HypernetConfig, HnetVaeConfig)


KNOWN_AFTER_EACH_TASK = ("average_accuracy", "task_inference_accuracy")


# CMA-ES keeps one distribution of one size, and a grid is all combinations.
SAME_KEYS = ("grid", "cmaes")


LARGEST_GRID = 100_000  # combinations are listed in memory


def check_sweep(
    sweep: "SweepSettings",
    parameters: Mapping[str, Parameter],
    conditions: Conditions,
    config: TrialConfig,
    errors: list[str],
) -> None:
    """Report settings that do not fit together or not what is searched.

    Args:
        sweep: the settings.
        parameters: what is searched.
        conditions: when each is.
        config: one of the trials.
        errors: collects the messages.
    """
    bounds = sweep.max_compression_ratio or "compression_ratio" in sweep.objectives
    if bounds and not isinstance(config.method, WITH_HYPERNET):
        key = "max_compression_ratio" if sweep.max_compression_ratio else "objective"
        errors.append(
            f"sweep.{key}: {config.method_name} has no hypernetwork to compress with; leave it out"
        )
    if not isinstance(sweep.objective, str) or not isinstance(sweep.mode, str):
        _check_objectives(sweep, errors)
    elif sweep.early_stopping != "none":
        _check_early_stopping(sweep, config, errors)
    if sweep.sampler in SAME_KEYS and conditions.when:
        keys = ", ".join(conditions.when)
        errors.append(
            f"sweep.sampler: {sweep.sampler} searches the same keys in every trial, but {keys}"
            " has a `when`; use tpe or random"
        )
    elif sweep.sampler == "grid":
        _check_grid(sweep, parameters, errors)
    if sweep.sampler == "cmaes":
        numbers = [p for p in parameters.values() if not isinstance(p, ChoiceParameter)]
        if len(numbers) < 2:
            errors.append(
                f"sweep.sampler: cmaes searches two or more numbers but the file has"
                f" {len(numbers)} (choices are no numbers); use tpe"
            )


def _check_objectives(sweep: "SweepSettings", errors: list[str]) -> None:
    """Several objectives: different ones, a mode for each, and nothing that ranks by one value."""
    names, modes = list(sweep.objectives), list(sweep.modes)
    if isinstance(sweep.objective, str) or len(names) != len(modes):
        errors.append(
            f"sweep.mode: give one for each objective but got {len(modes)} for {len(names)}"
        )
    elif len(set(names)) < max(2, len(names)):
        errors.append(f"sweep.objective: must be text or two different ones but got {names}")
    if sweep.early_stopping != "none":
        errors.append("sweep.early_stopping: ranks trials by one objective, not several; use none")
    if sweep.sampler == "cmaes":
        errors.append("sweep.sampler: cmaes has one objective, not several; use nsga2 or tpe")


def _check_early_stopping(sweep: "SweepSettings", config: TrialConfig, errors: list[str]) -> None:
    num_tasks = config.benchmark.num_tasks
    if sweep.grace_tasks >= num_tasks:
        errors.append(
            f"sweep.grace_tasks: after {sweep.grace_tasks} tasks nothing is left to stop early,"
            f" for there are {num_tasks}; use at most {num_tasks - 1}"
        )
    if sweep.objectives[0].split("/")[-1] not in KNOWN_AFTER_EACH_TASK:
        errors.append(
            f"sweep.early_stopping: {sweep.objective} is known only at the end of a trial;"
            " use none or another objective"
        )


def _check_grid(
    sweep: "SweepSettings", parameters: Mapping[str, Parameter], errors: list[str]
) -> None:
    endless = [key for key, parameter in parameters.items() if parameter.grid_size() is None]
    for key in endless:
        errors.append(f"search.{key}: has no step, so sampler grid cannot list it; give it a step")
    if endless:
        return
    size = math.prod(parameter.grid_size() or 1 for parameter in parameters.values())
    if size > LARGEST_GRID:
        errors.append(
            f"sweep.sampler: the grid has {size} combinations, more than {LARGEST_GRID};"
            " use larger steps or another sampler"
        )
    elif sweep.num_trials > size:
        errors.append(
            f"sweep.num_trials: {sweep.num_trials} is more than the grid's {size} combinations;"
            f" use {size}"
        )
