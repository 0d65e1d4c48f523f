"""The Ray trainable: a trial's number and values in, its seeds trained, its objective out.

What Ray is told, per trial:
- after each task of the first seed but the last: `tasks_learned` and the objective of that seed
  so far (NaN where it is only known at the end);
- once all seeds are done: `tasks_learned == num_tasks` and the mean of the seeds' objectives
  (`values` has all of several objectives, `objective` the first);
- or `failure` with its reason, when trying again at once would end the same way.
Only a died process and unexpected errors are raised, which Ray then retries.
"""

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from hcl.config import ConfigError, TrialConfig
from hcl.results import Result, TaskReport
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import JournalError
from sweeps.records.report_keys import FAILURE, NUM_TASKS, OBJECTIVE, TASKS_LEARNED, VALUES
from sweeps.space.search_space import SearchSpace
from sweeps.tracking import Store
from sweeps.workers.seed import Place, TrialFailed
from sweeps.workers.seed_batch import Seed, in_lots, train_lot
from sweeps.workers.warm_imports import importing


@dataclass(frozen=True)
class TrialPlan:
    """What all trials of a sweep share; travels to the workers."""

    space: SearchSpace
    folder: SweepFolder
    place: Place


def make_trainable(plan: TrialPlan) -> Callable[[dict[str, Any]], None]:
    """The function that Ray runs for each suggestion of `sweeps.study.searcher.OptunaSearch`."""

    def trainable(suggestion: dict[str, Any]) -> None:
        from ray import tune

        import_once(plan.place.store)
        try:
            run_trial(plan, suggestion["number"], suggestion["params"], tune.report)
        finally:
            clean_process()

    return trainable


def run_trial(
    plan: TrialPlan,
    number: int,
    params: dict[str, Any],
    report: Callable[[dict[str, Any]], None],
) -> None:
    """Train every seed of a trial and report as the module's docstring says.

    Args:
        plan: the sweep's.
        number: Optuna's trial number.
        params: searched values, as Optuna keeps them.
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
        report({OBJECTIVE: math.nan, TASKS_LEARNED: learned, NUM_TASKS: num_tasks,
                FAILURE: failure})  # fmt: skip
        return
    means = [sum(r.metrics[name] for r in results) / len(results) for name in objectives]
    report({OBJECTIVE: means[0], VALUES: means, TASKS_LEARNED: num_tasks, NUM_TASKS: num_tasks})


def _train(
    plan: TrialPlan,
    number: int,
    configs: list[TrialConfig],
    on_task: Callable[[TaskReport], None],
) -> tuple[list[Result], str]:
    """Results of all seeds, or the first failure, after which no more are begun."""
    results: list[Result] = []
    seeds = [Seed(c, plan.folder.seed_folder(number, c.seed), number) for c in configs]
    for lot in in_lots(seeds):
        rows = on_task if lot[0] is seeds[0] else None
        try:
            ends = train_lot(lot, plan.place, on_task=rows)
        except (ConfigError, JournalError) as error:  # its records are damaged
            ends = [TrialFailed(str(error))]
        for seed, end in zip(lot, ends, strict=False):
            if isinstance(end, TrialFailed):
                return [], f"seed {seed.config.seed}: {end}"
            results.append(end)
    return results, ""


@cache
def import_once(store: Store) -> None:
    """What every trial imports, before the first one of a process."""
    names = ["hcl.training.learner", "mlflow", "matplotlib.figure"]
    if not store.tracking_uri.startswith("http"):
        names.append("mlflow.store.tracking.sqlalchemy_store")
    with importing():
        for name in names:
            import_module(name)


@cache
def _set_imports_aside() -> None:
    """Once, after a first trial: what it imported stays, and to look at it takes 0.1 s."""
    gc.freeze()


def clean_process() -> None:
    """Ray reuses the process: give back what the trial held. (`hcl.run` seeds itself anew.)"""
    import torch

    gc.collect()
    _set_imports_aside()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
