"""The time that a trial would take, from a few timed steps of its first and its last task."""

import statistics
import time
from dataclasses import dataclass, replace

import torch

from hcl import seeding
from hcl.benchmarks.arrays import TaskData, TaskSplits
from hcl.config import TrialConfig
from hcl.training.batches import AnyBatches, make_batches
from hcl.training.process import Runtime, process_settings
from hcl.training.trial_state import TrialState, start_trial

STEPS = 5  # timed per task, after one to warm up
LONG = 10.0  # seconds; once the steps of a task have taken so long, no further one is timed


@dataclass(frozen=True)
class Probe:
    """Timed training steps of a trial.

    Attributes:
        first: seconds of a step in the first task.
        last: seconds of a step in the last task.
        steps: number of steps of each task.
    """

    first: float
    last: float
    steps: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """Seconds of all steps, if a step's cost grows evenly from task to task."""
        growth = (self.last - self.first) / max(1, len(self.steps) - 1)
        return sum(count * (self.first + i * growth) for i, count in enumerate(self.steps))

    @property
    def mean(self) -> float:
        """Seconds of an average step."""
        return self.seconds / sum(self.steps)


def probe(config: TrialConfig, runtime: Runtime | None = None) -> Probe:
    """Time a few steps of the first and of the last task; tasks between are begun and ended.

    Loading data and evaluation are not timed.

    Args:
        config: the trial.
        runtime: device, threads, data; its checkpoint folder is not used.

    Raises:
        ConfigError: data are missing or the device is not available.
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


def _step_seconds(trial: TrialState, batches: AnyBatches) -> float:
    """Time a few steps: their median, without the first unless it is the only one."""
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
    """Leave a task one batch of data: enough for what happens at its end (a Fisher matrix)."""
    data = task.train
    return replace(task, train=TaskData(data.x[:size], data.y[:size], data.permutation))
