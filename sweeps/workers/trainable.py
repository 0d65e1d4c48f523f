"""One trial of a sweep: from its number and values, through its seeds, to its objective.

A trial reports to Ray:
- after each task of its first seed but the last: `tasks_learned`, and that seed's objective so
  far (NaN where only the end knows it);
- once all seeds are trained: `tasks_learned == num_tasks` and the mean of the seeds' objectives
  (`values` has all of several objectives, `objective` the first);
- or `failure` with its reason, where a retry would end the same way.
A dead process and unexpected errors alone are raised, and Ray retries those.
"""

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import torch

from hcl.config import ConfigError, TrialConfig
from hcl.results import Result, TaskReport
from sweeps.records.folder import SweepFolder
from sweeps.records.report_keys import FAILURE, NUM_TASKS, OBJECTIVE, TASKS_LEARNED, VALUES
from sweeps.space.search_space import SearchSpace
from sweeps.tracking import Store
from sweeps.workers.context import RunContext
from sweeps.workers.ray_function import Report
from sweeps.workers.seed import TrialFailed
from sweeps.workers.seed_batch import group_seeds, train_replicas
from sweeps.workers.seed_records import Seed
from sweeps.workers.warm_imports import importing


@dataclass(frozen=True)
class TrialPlan:
    """Plan that all trials of a sweep share and that travels to the workers."""

    space: SearchSpace
    folder: SweepFolder
    context: RunContext


def run_suggestion(plan: TrialPlan, suggestion: dict[str, Any], report: Report) -> None:
    """Run what `sweeps.study.searcher.OptunaSearch` suggests, in a Ray worker."""
    import_once(plan.context.store)
    try:
        run_trial(plan, suggestion["number"], suggestion["params"], report)
    finally:
        clean_process()


def run_trial(plan: TrialPlan, number: int, params: dict[str, Any], report: Report) -> None:
    """Train every seed of a trial, and report what the module's docstring lists.

    Args:
        plan: the sweep's.
        number: Optuna's trial number.
        params: searched values, as Optuna stores them.
        report: takes one dict of metrics at a time.
    """
    objectives, seeds = plan.space.sweep.objectives, plan.space.sweep.seeds
    learned = 0

    def on_task(row: TaskReport) -> None:
        nonlocal learned
        learned = row.tasks_learned
        if learned < row.num_tasks:
            value = row.metrics.get(objectives[0], math.nan)
            report({OBJECTIVE: value, TASKS_LEARNED: learned, NUM_TASKS: row.num_tasks})

    configs = [plan.space.trial_config(params, seed) for seed in seeds]
    num_tasks = configs[0].benchmark.num_tasks
    results, failure = _train(plan, number, configs, on_task)
    if failure:
        last = {TASKS_LEARNED: learned, NUM_TASKS: num_tasks}
        report({OBJECTIVE: math.nan, **last, FAILURE: failure})
        return
    means = [sum(r.metrics[name] for r in results) / len(results) for name in objectives]
    report({OBJECTIVE: means[0], VALUES: means, TASKS_LEARNED: num_tasks, NUM_TASKS: num_tasks})


def _train(
    plan: TrialPlan,
    number: int,
    configs: list[TrialConfig],
    on_task: Callable[[TaskReport], None],
) -> tuple[list[Result], str]:
    """Train all seeds; return their results, or the first failure, after which none begins."""
    results: list[Result] = []
    seeds = [Seed(c, plan.folder.seed_folder(number, c.seed), number) for c in configs]
    for group in group_seeds(seeds):
        rows = on_task if group[0] is seeds[0] else None
        try:
            ends = train_replicas(group, plan.context, on_task=rows)
        except ConfigError as error:  # its result is damaged, or another configuration's
            ends = [TrialFailed(str(error))]
        for seed, end in zip(group, ends, strict=False):
            if isinstance(end, TrialFailed):
                return [], f"seed {seed.config.seed}: {end}"
            results.append(end)
    return results, ""


@cache
def import_once(store: Store) -> None:
    """Import what deliveries to MLflow need late, before the first training of a process."""
    names = ["mlflow", "matplotlib.figure"]
    if not store.tracking_uri.startswith("http"):
        names.append("mlflow.store.tracking.sqlalchemy_store")
    with importing():
        for name in names:
            import_module(name)


def clean_process() -> None:
    """Give back what a trial held, since Ray reuses the process; `hcl.run` seeds itself anew."""
    gc.collect()
    _freeze_imports()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@cache
def _freeze_imports() -> None:
    """Exempt what the first trial imported from further collections, 0.1 s each."""
    gc.freeze()
