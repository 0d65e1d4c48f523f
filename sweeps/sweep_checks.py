"""Checks of the sweep's settings against what is searched. Imports neither Optuna nor Ray."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hcl.config import TrialConfig
from hcl.method_configs import HnetVaeConfig, HypernetConfig
from sweeps.conditions import Conditions
from sweeps.parameters import ChoiceParameter, Parameter

if TYPE_CHECKING:
    from sweeps.search_space import SweepSettings

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
