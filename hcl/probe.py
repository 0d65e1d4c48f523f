"""How long a trial would take: a few steps of its first and its last task, timed."""

import statistics
import time
from dataclasses import replace

import torch

from hcl import seeding
from hcl.batches import AnyBatches
from hcl.benchmarks.arrays import TaskData, TaskSplits
from hcl.config import TrialConfig
from hcl.learner import make_batches, process_settings, start_trial
from hcl.trial import Runtime, Trial

STEPS = 5  # timed per probed task, after one that warms up


def training_seconds(config: TrialConfig, runtime: Runtime | None = None) -> float:
    """Seconds that all steps of a trial would take; evaluation and data are not in it.

    The cost of a step grows about evenly with the past tasks, so the first and the last task
    are timed and averaged. Nothing is trained in between.

    Args:
        config: the trial.
        runtime: device, threads, data.

    Raises:
        ConfigError: data missing or device unavailable.
    """
    runtime = replace(runtime or Runtime(), checkpoint_dir=None)
    with process_settings(runtime), seeding.isolated(config.seed, "probe"):
        trial = start_trial(config, runtime, None)
        tasks = trial.benchmark.tasks
        times = []
        for task in tasks:
            trial.method.start_task(task)
            if task is tasks[0] or task is tasks[-1]:
                times.append(_step_seconds(trial, make_batches(trial, task)))
            trial.method.end_task(_shortened(task, config.train.batch_size))
    return statistics.fmean(times) * config.train.iterations * len(tasks)


def _step_seconds(trial: Trial, batches: AnyBatches) -> float:
    """Median of a few steps."""
    trial.method.train()
    times = []
    for step in range(STEPS + 1):
        x, y = batches.at(step)
        _wait(trial.runtime.device)
        began = time.perf_counter()
        trial.method.train_step(x, y)
        _wait(trial.runtime.device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _shortened(task: TaskSplits, size: int) -> TaskSplits:
    """One batch is enough data for the end of a task (a Fisher matrix, a buffer)."""
    data = task.train
    return replace(task, train=TaskData(data.x[:size], data.y[:size], data.permutation))
