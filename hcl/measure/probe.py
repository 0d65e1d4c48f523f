"""How long a trial would take: a few steps of its first and its last task, timed."""

import statistics
import time
from dataclasses import dataclass, replace

import torch

from hcl import seeding
from hcl.benchmarks.arrays import TaskData, TaskSplits
from hcl.config import TrialConfig
from hcl.training.batches import AnyBatches
from hcl.training.learner import make_batches, start_trial
from hcl.training.process import process_settings
from hcl.training.trial import Runtime, Trial

STEPS = 5  # timed per probed task, after one that warms up
LONG = 10.0  # seconds of steps of a task after which no further one is timed


@dataclass(frozen=True)
class Probe:
    """Seconds of a training step in the first and in the last task."""

    first: float
    last: float
    steps: tuple[int, ...]  # of each task

    @property
    def seconds(self) -> float:
        """Of all steps: their cost grows about evenly with the past tasks."""
        growth = (self.last - self.first) / max(1, len(self.steps) - 1)
        return sum(count * (self.first + i * growth) for i, count in enumerate(self.steps))

    @property
    def mean(self) -> float:
        """Of a step."""
        return self.seconds / sum(self.steps)


def training_seconds(config: TrialConfig, runtime: Runtime | None = None) -> float:
    """Seconds that all steps of a trial would take; evaluation and data are not in it."""
    return probe(config, runtime).seconds


def probe(config: TrialConfig, runtime: Runtime | None = None) -> Probe:
    """Time a few steps of the first and of the last task; nothing is trained in between.

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
    return Probe(times[0], times[-1], tuple(trial.num_steps(i) for i in range(len(tasks))))


def _step_seconds(trial: Trial, batches: AnyBatches) -> float:
    """Median of a few steps, the first left out unless it is the only one."""
    trial.method.train()
    times: list[float] = []
    for step in range(STEPS + 1):
        x, y = batches.at(step)
        _wait(trial.runtime.device)
        began = time.perf_counter()
        trial.method.train_step(x, y)
        _wait(trial.runtime.device)
        times.append(time.perf_counter() - began)
        if sum(times) > LONG:
            break
    return statistics.median(times[1:] or times)


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _shortened(task: TaskSplits, size: int) -> TaskSplits:
    """One batch is enough data for the end of a task (a Fisher matrix, a buffer)."""
    data = task.train
    return replace(task, train=TaskData(data.x[:size], data.y[:size], data.permutation))
