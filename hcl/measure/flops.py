"""Operations that a training step and a prediction take, counted while tiny ones run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hcl import seeding
from hcl.benchmarks.arrays import Benchmark, TaskData, TaskSplits
from hcl.config import TrialConfig, as_trial
from hcl.methods import Method, Setup, make_method
from hcl.scenario import make_layout
from hcl.training.process import Runtime
from hcl.training.trial_state import load_benchmark


@dataclass(frozen=True)
class Flops:
    """Multiplications and additions in matrix products and convolutions, per sample.

    Attributes:
        training: of a step of the last task, where most is regularized or replayed.
        prediction: once weights that a method generates are there.
    """

    training: float
    prediction: float


def count_flops(config: TrialConfig | Mapping[str, Any], runtime: Runtime | None = None) -> Flops:
    """Count what a trial's steps and predictions take, by the plain algorithm.

    The first task and the last are learned in one step each, on as many samples as a batch has:
    what is regularized or replayed in the last must have been there before. `train/kernels: fast`
    gives the same numbers with fewer operations, which are not counted.

    Args:
        config: the trial, or its settings.
        runtime: device, and folder of the data.

    Raises:
        ConfigError: the settings are wrong, or the data are missing or damaged.
    """
    trial = as_trial(config)
    plain = replace(trial, train=replace(trial.train, kernels="plain", compile="off"))
    benchmark = load_benchmark(plain, runtime)
    layout = make_layout(plain, len(benchmark.tasks), benchmark.classes_per_task)
    statistics = benchmark.pixel_statistics
    with seeding.isolated(plain.seed, "flops"):
        setup = Setup(plain, layout, benchmark.input_shape, pixel_statistics=statistics)
        method = make_method(setup).to(benchmark.tasks[0].train.x.device)
        return _count(method, benchmark, plain)


def _count(method: Method, benchmark: Benchmark, trial: TrialConfig) -> Flops:
    first, last = benchmark.tasks[0], benchmark.tasks[-1]
    training = 0.0
    for task in benchmark.tasks:
        few = replace(task, train=_first(task.train, trial.train.batch_size))
        method.start_task(few)
        if task.task_id in (first.task_id, last.task_id):
            training = _count_step(method, few)
        method.end_task(few)
    return Flops(training, _count_prediction(method, first, trial))


def _count_step(method: Method, task: TaskSplits) -> float:
    x, y = task.train.batch(torch.arange(len(task.train), device=task.train.x.device))
    method.train()
    with FlopCounterMode(display=False) as counter:
        method.train_step(x, method.layout.targets(y, task.task_id))
    return counter.get_total_flops() / len(x)


def _count_prediction(method: Method, task: TaskSplits, trial: TrialConfig) -> float:
    few = _first(task.test, trial.train.batch_size)
    x, _ = few.batch(torch.arange(len(few), device=few.x.device))
    known = task.task_id if trial.scenario == "task" else None
    method.eval()
    with torch.no_grad():
        method.predict(x, known)
        with FlopCounterMode(display=False) as counter:
            method.predict(x, known)
    return counter.get_total_flops() / len(x)


def _first(data: TaskData, count: int) -> TaskData:
    return replace(data, x=data.x[:count], y=data.y[:count])
