"""Fixed configurations, each trained once: without a search, Ray Tune only schedules them.

A fixed trial's folder is named by its configuration's digest, so that asking again, for more
seeds or after an interruption trains what is missing and nothing else. A Ray trial trains one of
them, or up to `train/num_replicas` that are alike.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console

from hcl.config.trial import imported_paths
from hcl.results import NUMERICS_VERSION, Result, TaskReport
from hcl.storage.shared_classifier import TAKES, classifier_digest
from sweeps.cluster.connection import announce, cluster
from sweeps.cluster.progress import Counts, ProgressCallback, Size
from sweeps.cluster.tuner import Interrupt, ends_at, run_trials
from sweeps.cluster.watchdog import end_process
from sweeps.records.folder import SweepFolder, wait_for_writers
from sweeps.records.journal import Journal
from sweeps.records.report_keys import FAILURE, NUM_TASKS, OBJECTIVE, TASKS_LEARNED
from sweeps.space.settings import SweepSettings
from sweeps.tracking import close_runs, deliver_all
from sweeps.workers.context import RunContext
from sweeps.workers.ray_function import Report, ray_function
from sweeps.workers.seed import TrialFailed
from sweeps.workers.seed_batch import group_seeds, train_replicas
from sweeps.workers.seed_records import Seed, read_result
from sweeps.workers.trainable import clean_process, import_once

CLASSIFIERS = "classifiers"  # folder of shared classifiers, removed once all trials are done


@dataclass(frozen=True)
class FixedTrial:
    """A training, and the folder of classifiers where it shares one with others."""

    seed: Seed
    classifiers: Path | None = None


@dataclass(frozen=True)
class FixedPlan:
    """Plan that all Ray trials share and that travels to the workers.

    Attributes:
        groups: trainings of each Ray trial, by its number.
        context: the run's.
    """

    groups: list[list[FixedTrial]]
    context: RunContext


def train_fixed(
    folder: SweepFolder,
    seeds: Sequence[Seed],
    context: RunContext,
    settings: SweepSettings,
    console: Console,
    address: str | None = None,
) -> list[Result | None]:
    """Train every configuration that has no result yet.

    Args:
        folder: the sweep's, which is locked meanwhile.
        seeds: what to train; the same one twice is trained once.
        context: the run's.
        settings: resources and retries of each training.
        console: where progress goes.
        address: address of a Ray cluster; None = this machine.

    Returns:
        A result for each of `seeds`, None where it failed.

    Raises:
        KeyboardInterrupt: interrupted, or a time limit is over (`TimeIsUp`); everything was
            stopped in order.
    """
    with folder.lock():
        waiting = {seed.folder: seed for seed in seeds if not _is_done(seed)}
        if waiting:
            with Interrupt() as interrupt, interrupt.within_limit():
                trials = share_classifiers(list(waiting.values()), folder.path / CLASSIFIERS)
                plan = FixedPlan(_grouped(trials), context)
                _schedule(plan, folder, settings, console, address, interrupt)
            if interrupt.requested:
                raise interrupt.error()
        # Tables read MLflow, which a worker may not have reached, now or at an earlier start.
        deliver_all(context.store, [seed.folder for seed in seeds], context.parent_run_id)
        results = [read_result(seed.folder, seed.config) for seed in seeds]
        if all(result is not None for result in results):
            shutil.rmtree(folder.path / CLASSIFIERS, ignore_errors=True)
    return results


def _is_done(seed: Seed) -> bool:
    """Tell whether a seed has its result, and a journal that nobody must repair."""
    has_result = read_result(seed.folder, seed.config) is not None
    return has_result and not Journal(seed.folder).scan()[1]


def share_classifiers(seeds: Sequence[Seed], folder: Path) -> list[FixedTrial]:
    """Let trainings take classifiers that others train; the takers come last.

    Writing a classifier's states costs disk and time, so those trainings alone do it whose
    classifier some other one takes. A taker that finds none trains its own, with the same result.
    """
    digests = [classifier_digest(seed.config) for seed in seeds]
    takes = [seed.config.method_name == TAKES for seed in seeds]
    wanted = {digest for digest, taker in zip(digests, takes, strict=True) if taker and digest}
    states = folder / f"v{NUMERICS_VERSION}"
    shared = [
        FixedTrial(seed, states if digest in wanted else None)
        for seed, digest in zip(seeds, digests, strict=True)
    ]
    order = sorted(range(len(seeds)), key=lambda i: takes[i] and digests[i] is not None)
    return [shared[i] for i in order]


def _grouped(trials: Sequence[FixedTrial]) -> list[list[FixedTrial]]:
    by_folder = {trial.seed.folder: trial for trial in trials}
    groups = group_seeds([trial.seed for trial in trials])
    return [[by_folder[seed.folder] for seed in group] for group in groups]


def _schedule(
    plan: FixedPlan,
    folder: SweepFolder,
    settings: SweepSettings,
    console: Console,
    address: str | None,
    interrupt: Interrupt,
) -> None:
    count = len(plan.groups)
    configs = [group[0].seed.config for group in plan.groups]
    paths = {path for config in configs for path in imported_paths(config.to_dict())}
    code = folder.keep_code(sorted(paths))
    sizes = [_size(group) for group in plan.groups]
    counts = Counts(count, sizes[0], mode="", sizes=sizes, stop_at=ends_at())

    def folders(number: int) -> list[Path]:
        return [trial.seed.folder for trial in plan.groups[number]]

    progress = ProgressCallback(counts, console, folders, settings.max_failures)

    def close() -> None:
        wait_for_writers(folder.journals())
        close_runs(plan.context.store, folder.name)

    def on_lost(what: str) -> None:
        progress.close()
        end_process(what, close)

    announce(address, console)
    with cluster(address, settings, on_lost) as num_at_a_time:
        trainable, numbers = ray_function(run_group, plan, code), list(range(count))
        while numbers and not interrupt.requested:
            run_trials(
                trainable,
                settings,
                folder,
                progress,
                folders,
                param_space={"number": tune.grid_search(numbers)},
                max_concurrent_trials=num_at_a_time,
            )
            numbers = progress.take_early()


def _size(group: Sequence[FixedTrial]) -> Size:
    """Measure a group by its steps, the best guess of how long it takes beside others."""
    config = group[0].seed.config
    tasks = config.benchmark.num_tasks
    return Size(tasks, len(group), float(tasks * len(group) * config.train.iterations))


def run_group(plan: FixedPlan, choice: dict[str, Any], report: Report) -> None:
    """Train one group in a Ray worker and report how it went."""
    import_once(plan.context.store)
    group = plan.groups[choice["number"]]
    num_tasks = group[0].seed.config.benchmark.num_tasks

    def on_task(row: TaskReport) -> None:
        if row.tasks_learned < row.num_tasks:
            report({TASKS_LEARNED: row.tasks_learned, NUM_TASKS: num_tasks})

    try:
        shared = next((trial.classifiers for trial in group if trial.classifiers), None)
        context = replace(plan.context, classifiers=shared)
        ends = train_replicas([trial.seed for trial in group], context, on_task=on_task)
        failures = [
            f"seed {trial.seed.config.seed}: {end}"
            for trial, end in zip(group, ends, strict=True)
            if isinstance(end, TrialFailed)
        ]
        if failures:
            report({FAILURE: "; ".join(failures), TASKS_LEARNED: 0, NUM_TASKS: num_tasks})
        else:
            report({OBJECTIVE: 1.0, TASKS_LEARNED: num_tasks, NUM_TASKS: num_tasks})
    finally:
        clean_process()
