"""Checks that need several sections of a search space at once, or whole trials made of them."""

import math
from collections.abc import Mapping
from typing import Any

from hcl.config import ConfigError, TrialConfig
from hcl.config.methods import HnetVaeConfig, HypernetConfig
from sweeps.space.conditions import Conditions
from sweeps.space.parameters import ChoiceParameter, Parameter
from sweeps.space.sections import Sections
from sweeps.space.settings import SweepSettings

OBJECTIVES = (
    "average_accuracy",
    "learning_accuracy",
    "backward_transfer",
    "forgetting",
    "task_inference_accuracy",
)
ERRORS = ("average_mse", "learning_mse")  # of a regression, which has no others
KNOWN_AFTER_EACH_TASK = ("average_accuracy", "task_inference_accuracy", "average_mse")
WITH_HYPERNET = (HypernetConfig, HnetVaeConfig)
SAME_KEYS = ("grid", "cmaes")  # samplers that search the same keys in every trial
LARGEST_GRID = 100_000  # combinations; they are listed in memory


def check_sections(sections: Sections, errors: list[str]) -> None:
    """Report what is wrong with the sections together.

    Args:
        sections: what the file says.
        errors: collects the messages, each with its path in the file.
    """
    config = _check_trials(sections, errors)
    if config and sections.sweep:
        check_sweep(sections.sweep, sections.parameters, sections.conditions, config, errors)


def check_sweep(
    sweep: SweepSettings,
    parameters: Mapping[str, Parameter | None],
    conditions: Conditions,
    config: TrialConfig,
    errors: list[str],
) -> None:
    """Report settings of the sweep that fit neither each other nor what is searched.

    Args:
        sweep: the settings.
        parameters: what is searched; with a wrong range (None) only objectives are checked.
        conditions: when each key is searched.
        config: one of the trials.
        errors: collects the messages.
    """
    for i, objective in enumerate(sweep.objectives):
        if len(sweep.objectives) == 1 or objective != "compression_ratio":
            _check_objective(objective, config, errors)
        if objective.endswith(ERRORS) and "max" in sweep.modes[i : i + 1]:
            errors.append(f"sweep.mode: {objective} is an error, less is better; use min")
    searched = {key: parameter for key, parameter in parameters.items() if parameter}
    if len(searched) < len(parameters):
        return
    bounds = sweep.max_compression_ratio or "compression_ratio" in sweep.objectives
    if bounds and not isinstance(config.method, WITH_HYPERNET):
        key = "max_compression_ratio" if sweep.max_compression_ratio else "objective"
        errors.append(
            f"sweep.{key}: {config.method_name} has no hypernetwork to compress with; leave it out"
        )
    if bounds and not config.benchmark.classes_per_task:
        errors.append(
            "sweep.max_compression_ratio: how many classes the data have, and thus the ratio, is"
            " known in training alone; leave it out"
        )
    if not isinstance(sweep.objective, str) or not isinstance(sweep.mode, str):
        _check_several_objectives(sweep, errors)
    elif sweep.early_stopping != "none":
        _check_early_stopping(sweep, config, errors)
    _check_sampler(sweep, searched, conditions, errors)


# --- trials ------------------------------------------------------------------------------------


class _Trials:
    """Trials of a search space, as flat settings."""

    def __init__(self, sections: Sections) -> None:
        self.constants, self.conditions = sections.constants, sections.conditions
        self.parameters = sections.valid_parameters
        self.first = {key: next(iter(p.corners().values())) for key, p in self.parameters.items()}

    def searched_at(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the searched keys in a trial that has the `given` ones.

        Other keys are at the first end of their range, or have a value that the conditions of
        the given keys ask for.
        """
        if not self.conditions.when:
            return {**self.first, **given}
        needed = {
            name: self.parameters[name].load(allowed[0])
            for key in given
            for name, allowed in self.conditions.needs(key).items()
        }
        values = {**self.first, **needed, **given}
        stored = {
            key: value if parameter.problem(value := values[key]) else parameter.store(value)
            for key, parameter in self.parameters.items()
        }
        return {key: values[key] for key in self.conditions.searched(stored)}

    def at(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All settings of a trial that has the `given` values of searched keys."""
        return {**self.constants, **self.searched_at(given)}


def _check_trials(sections: Sections, errors: list[str]) -> TrialConfig | None:
    """Report what trials refuse, at every end of every range and at every point.

    Returns:
        The trial at the first end of every range, None if it is not valid.
    """
    constants, conditions = sections.constants, sections.conditions
    if "seed" in constants:
        errors.append("trial.seed: seeds belong to every trial; list them in sweep.seeds")
    if "method/name" not in constants:
        errors.append("trial.method/name: is missing; say which method is searched")
        return None
    trials = _Trials(sections)
    config, wrong = _check_first_trial(trials, sections.parameters, errors)
    for key, parameter in trials.parameters.items():
        for corner, value in parameter.corners().items():
            _report(trials.at({key: value}), key, f"search.{key}.{corner}", errors)
    for key in conditions.when:
        if key in constants:  # its value where the condition does not hold
            _report({**trials.at({}), key: constants[key]}, key, f"trial.{key}", errors)
    for index, point in enumerate(sections.points):
        if not wrong & point.keys() and point.keys() <= trials.parameters.keys():
            _, messages = _build(trials.at(point))
            errors += [f"points_to_evaluate[{index}].{m}" for m in messages if _key(m) in point]
    return config


def _check_first_trial(
    trials: _Trials, parameters: Mapping[str, Parameter | None], errors: list[str]
) -> tuple[TrialConfig | None, set[str]]:
    """Report constants and keys that no trial accepts; return the trial and all wrong keys."""
    # A wrong range still names a key that may be unknown: a value of no type shows that alone.
    without_range = {key: None for key in parameters if key not in trials.parameters}
    searched = trials.searched_at({})
    config, messages = _build({**trials.constants, **searched, **without_range})
    for message in messages:
        key = _key(message)
        if key in searched:
            continue  # reported with its place in the range
        if key in without_range and "unknown key" not in message:
            continue  # its range is already reported
        errors.append(f"{'search' if key in without_range else 'trial'}.{message}")
    return config, {_key(message) for message in messages}


def _report(trial: dict[str, Any], key: str, path: str, errors: list[str]) -> None:
    """Report what is wrong with `key` in a trial; an unknown key once, not at every corner."""
    for message in _build(trial)[1]:
        if _key(message) != key:
            continue
        unknown = "unknown key" in message
        text = f"search.{message}" if unknown else f"{path}:{message.removeprefix(key + ':')}"
        if text not in errors:
            errors.append(text)


def _build(settings: dict[str, Any]) -> tuple[TrialConfig | None, list[str]]:
    """Build a trial; return it, or None and what is wrong with it."""
    try:
        return TrialConfig.from_dict(settings), []
    except ConfigError as error:
        return None, error.errors


def _key(message: str) -> str:
    return message.split(":")[0]


# --- settings of the sweep ---------------------------------------------------------------------


def _check_objective(objective: str, config: TrialConfig, errors: list[str]) -> None:
    """Report an objective that these trials do not measure on validation data."""
    parts = objective.split("/")
    known = ERRORS if config.benchmark.info.is_regression else OBJECTIVES
    if len(parts) != 3 or parts[0] not in ("val", "test") or parts[2] not in known:
        errors.append(
            f"sweep.objective: {objective!r} is not val/SCENARIO/METRIC with METRIC one of"
            f" {', '.join(known)}"
        )
        return
    split, scenario, metric = parts
    if split == "test":
        errors.append(
            f"sweep.objective: {objective} would select on test data; use val/{scenario}/{metric}"
        )
    elif config.benchmark.val_fraction == 0 and not config.benchmark.may_bring_validation:
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


def _check_several_objectives(sweep: SweepSettings, errors: list[str]) -> None:
    """Report equal objectives, missing modes, and settings that need a single objective."""
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


def _check_early_stopping(sweep: SweepSettings, config: TrialConfig, errors: list[str]) -> None:
    num_tasks = config.benchmark.num_tasks
    if sweep.grace_tasks >= num_tasks:
        errors.append(
            f"sweep.grace_tasks: must be less than the {num_tasks} tasks, or no trial can be"
            f" stopped early, but got {sweep.grace_tasks}; use at most {num_tasks - 1}"
        )
    if sweep.objectives[0].split("/")[-1] not in KNOWN_AFTER_EACH_TASK:
        errors.append(
            f"sweep.early_stopping: {sweep.objective} is known only at the end of a trial;"
            " use none or another objective"
        )


def _check_sampler(
    sweep: SweepSettings,
    parameters: Mapping[str, Parameter],
    conditions: Conditions,
    errors: list[str],
) -> None:
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


def _check_grid(
    sweep: SweepSettings, parameters: Mapping[str, Parameter], errors: list[str]
) -> None:
    endless = [key for key, parameter in parameters.items() if parameter.grid_size() is None]
    if endless:
        errors += [
            f"search.{key}: has no step, so sampler grid cannot list it; give it a step"
            for key in endless
        ]
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
