"""The section `sweep` of a search space: how its trials are chosen and run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hcl.config.schema import build, setting


@dataclass(frozen=True)
class SweepSettings:
    """Settings of how a sweep is run."""

    num_trials: int = setting(20, ge=1)  # how many, earlier starts of the sweep included
    # Core-hours after which no further trial begins; 0 = no bound.
    core_hours: float = setting(0.0, ge=0)
    seeds: tuple[int, ...] = setting((1,), ge=0)  # trained in every trial; objective = their mean
    # Metric of the validation data; several: a Pareto front.
    objective: str | tuple[str, ...] = "val/task/average_accuracy"
    mode: Literal["max", "min"] | tuple[Literal["max", "min"], ...] = "max"  # one per objective
    sampler: Literal["tpe", "random", "grid", "cmaes", "gp", "nsga2"] = "tpe"  # Optuna's, by name
    sampler_seed: int = setting(0, ge=0)  # seed of what the sampler draws
    early_stopping: Literal["none", "asha", "median"] = "none"  # stops poor trials between tasks
    grace_tasks: int = setting(2, ge=1)  # tasks that every trial learns before it may be stopped
    max_compression_ratio: float = setting(0.0, ge=0)  # trials above it are refused; 0 = no bound
    max_concurrent_trials: int = setting(0, ge=0)  # trials at a time; 0 = as many as fit
    max_failures: int = setting(2, ge=0)  # retries of a trial whose process died
    cpus_per_trial: int = setting(1, ge=1)  # cores, and threads of torch
    # GPUs, or a share of one; auto = measured, then packed.
    gpus_per_trial: float | Literal["auto"] = setting(0.0, ge=0)
    memory_per_trial: float = setting(0.0, ge=0)  # GiB set aside; 0 = not counted
    checkpoint_every: int = setting(1000, ge=0)  # steps between checkpoints; 0 = after tasks only
    # Trials whose learners MLflow gets as models; best = the Pareto front of several objectives.
    log_models: Literal["best", "all", "none"] = "best"

    @property
    def objectives(self) -> tuple[str, ...]:
        """All objectives; a single one is a tuple too."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective

    @property
    def modes(self) -> tuple[str, ...]:
        """The mode ("max" or "min") of each objective."""
        return (self.mode,) if isinstance(self.mode, str) else self.mode


def parse_settings(section: Any, errors: list[str]) -> SweepSettings | None:
    """Read the section, appending every mistake to `errors`; None if its values are wrong."""
    if not isinstance(section, Mapping):
        errors.append(f"sweep: must be a mapping but got {section!r}")
        return None
    sweep = build(SweepSettings, section, "sweep.", errors)
    if sweep and (not sweep.seeds or len(set(sweep.seeds)) < len(sweep.seeds)):
        errors.append(f"sweep.seeds: must be different numbers but got {list(sweep.seeds)}")
    share = sweep.gpus_per_trial if sweep else 0.0
    if share != "auto" and share > 1 and share % 1:
        errors.append(
            f"sweep.gpus_per_trial: must be a whole number or at most 1 but got {share:g};"
            " a trial is given whole GPUs or a share of one"
        )
    return sweep
