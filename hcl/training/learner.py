"""The only training loop: one trial, a whole task sequence, from configuration to result."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy
import torch
from torch import Tensor

from hcl import benchmarks, metrics, seeding
from hcl.benchmarks.arrays import Benchmark, TaskSplits
from hcl.config import TrialConfig
from hcl.methods import METHODS, Setup
from hcl.networks import given_weights
from hcl.results import Progress, Result, TaskReport
from hcl.scenario import make_layout
from hcl.storage.shared_classifier import SharedClassifier, classifier_digest
from hcl.training.batches import AnyBatches, AugmentedBatches, Batches, MixedBatches
from hcl.training.evaluate import evaluate_row, sum_scores
from hcl.training.process import process_settings, versions
from hcl.training.schedule import Plateau, epoch_length, learning_rate
from hcl.training.trial import Runtime, Trial

__all__ = ["Progress", "Result", "Runtime", "TaskReport", "TrainingDiverged", "run"]

# Losses are read from the device this often: each read waits for it.
READ_EVERY = 100
SAMPLES_PER_ROW = 10


class TrainingDiverged(RuntimeError):
    """A loss became NaN or infinite."""


def run(
    config: TrialConfig,
    report: Callable[[TaskReport], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    runtime: Runtime | None = None,
) -> Result:
    """Train a task sequence and score all tasks learned so far after each one.

    Goes on from the newest readable checkpoint in `runtime.checkpoint_dir`, with the same result,
    bit for bit, as a run that was never interrupted (on the CPU).

    Args:
        config: the trial.
        report: called after each task, before its checkpoint is written: after a kill a row may
            come twice, never be missing.
        progress: called every 100 steps and at a task's end.
        runtime: device, threads, checkpoints.

    Raises:
        ConfigError: data missing, device unavailable, or checkpoints of another trial.
        TrainingDiverged: a loss became NaN or infinite.
    """
    runtime = runtime or Runtime()
    with process_settings(runtime), seeding.isolated(config.seed, "trial"):
        trial = start_trial(config, runtime, progress)
        tasks = trial.benchmark.tasks
        for task in tasks[trial.tasks_learned :]:
            _train_task(trial, task)
            finish_task(trial, task, report)
        return result_of(trial)


def start_trial(
    config: TrialConfig,
    runtime: Runtime,
    progress: Callable[[Progress], None] | None,
    benchmark: Benchmark | None = None,
) -> Trial:
    """Data (unless they are given), method and the newest checkpoint: a trial ready to train."""
    benchmark = benchmark or load_benchmark(config, runtime)
    layout = make_layout(config, len(benchmark.tasks), benchmark.classes_per_task)
    shared = None
    if runtime.classifiers is not None and classifier_digest(config):
        shared = SharedClassifier(Path(runtime.classifiers), config, benchmark.digest)
    weights = None
    if name := config.target.weights:
        weights = given_weights.read(given_weights.find(name, runtime.data_root))
    setup = Setup(config, layout, benchmark.input_shape, shared, weights)
    method = METHODS[config.method_name](setup)
    trial = Trial(config, runtime, benchmark, method.to(runtime.device), progress)
    trial.restore()
    return trial


def load_benchmark(config: TrialConfig, runtime: Runtime) -> Benchmark:
    """A trial's data, on its device; their digest covers given weights too."""
    benchmark = benchmarks.load(config.benchmark, runtime.data_root, runtime.device)
    if not config.target.weights:
        return benchmark
    path = given_weights.find(config.target.weights, runtime.data_root)
    both = hashlib.sha256(f"{benchmark.digest} {given_weights.digest(path)}".encode())
    return replace(benchmark, digest=both.hexdigest()[:16])


def _train_task(trial: Trial, task: TaskSplits) -> None:
    method, num_steps = trial.method, trial.num_steps(task.task_id)
    if trial.step == 0:
        trial.plateau = Plateau()
        method.start_task(task)
    batches = make_batches(trial, task)
    method.train()
    losses: dict[str, Tensor] = {}
    rate = None
    began = time.monotonic()
    for step in range(trial.step, num_steps):
        rate = _scheduled_rate(trial, step / num_steps, rate)
        x, y = batches.at(step)
        losses = method.train_step(x, y)
        trial.step = step + 1
        if trial.step % READ_EVERY == 0 or trial.step == num_steps:
            values = torch.stack(list(losses.values())).tolist() if losses else []
            take_losses(trial, task, dict(zip(losses, values, strict=True)))
        _watch_plateau(trial, task)
        every = trial.runtime.checkpoint_every
        if every and trial.step % every == 0 and trial.step < num_steps:
            trial.train_seconds += time.monotonic() - began
            trial.save()
            began = time.monotonic()
    method.end_task(task)
    trial.train_seconds += time.monotonic() - began
    trial.tasks_learned, trial.step = task.task_id + 1, 0


def _scheduled_rate(trial: Trial, progress: float, last: float | None) -> float | None:
    """The coming step's learning rate, told to the method unless it is still the last one."""
    train = trial.config.train
    if not train.is_scheduled:
        return None
    rate = learning_rate(train, progress, trial.plateau)
    if rate != last:
        trial.method.set_learning_rate(rate)
    return rate


def _watch_plateau(trial: Trial, task: TaskSplits) -> None:
    """After each epoch of the task, look at its validation score."""
    train, method = trial.config.train, trial.method
    if not train.plateau_patience:
        return
    if trial.step % epoch_length(train, trial.num_samples(task.task_id)):
        return
    scenario, at_once = trial.config.scenario, train.eval_batch_size
    method.eval()
    with torch.no_grad():
        scores = sum_scores(method, task.val, task.task_id, scenario, at_once)
    method.train()
    score = float(scores[0]) / len(task.val)
    trial.plateau.observe(score if method.layout.score == "accuracy" else -score, train)


def make_batches(trial: Trial, task: TaskSplits) -> AnyBatches:
    """The batches of a task, step by step."""
    layout, train, seed = trial.method.layout, trial.config.train, trial.config.seed
    batches: Batches | MixedBatches
    if trial.method.trains_on_all_tasks:
        tasks = trial.benchmark.tasks[: task.task_id + 1]
        batches = MixedBatches(tasks, layout, train.batch_size, seed)
    else:
        batches = Batches(task, layout, train.batch_size, seed)
    return AugmentedBatches(batches, seed, task.task_id) if train.augment else batches


def take_losses(trial: Trial, task: TaskSplits, losses: dict[str, float]) -> None:
    """Look at the last losses and show them.

    Raises:
        TrainingDiverged: one is not a number.
    """
    trial.losses = losses
    for name, value in trial.losses.items():
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"the {name} loss is {value} at step {trial.step} of task {task.task_id};"
                " try a smaller train/lr"
            )
    if trial.progress:
        iterations, num_tasks = trial.num_steps(task.task_id), len(trial.benchmark.tasks)
        trial.progress(
            Progress(task.task_id, num_tasks, trial.step, iterations, trial.losses, trial.seconds)
        )


def finish_task(
    trial: Trial, task: TaskSplits, report: Callable[[TaskReport], None] | None
) -> None:
    """Score a task that has been learned, report, and only then save."""
    scores = _evaluate(trial)
    if report:
        report(_task_report(trial, task, scores))
    trial.save()


def _evaluate(trial: Trial) -> dict[str, float]:
    """Add a row to every matrix; the row as named metrics."""
    scores: dict[str, float] = {}
    trial.method.eval()
    # The task scenario last: it can use the weights that the others generate for all tasks.
    for scenario in sorted(trial.config.eval_scenarios, key=lambda name: name == "task"):
        rows = evaluate_row(
            trial.method, trial.benchmark, scenario, trial.config.train.eval_batch_size
        )
        for split, (accuracies, inferred) in rows.items():
            name = f"{split}/{scenario}"
            trial.accuracy.setdefault(name, []).append(accuracies)
            short = {"accuracy": "acc"}.get(trial.method.layout.score, trial.method.layout.score)
            scores |= {f"{name}/{short}/task_{i:02d}": a for i, a in enumerate(accuracies)}
            average = f"{name}/average_{trial.method.layout.score}"
            scores[average] = sum(accuracies) / len(accuracies)
            if inferred:
                trial.inference.setdefault(name, []).append(inferred)
                mean = metrics.task_inference_accuracy(inferred)
                scores[f"{name}/task_inference_accuracy"] = mean
    return scores


def _task_report(trial: Trial, task: TaskSplits, scores: dict[str, float]) -> TaskReport:
    losses = {f"loss/{name}": value for name, value in trial.losses.items()}
    return TaskReport(
        task.task_id,
        trial.tasks_learned,
        len(trial.benchmark.tasks),
        {**scores, **losses},
        trial.seconds,
        trial.steps_per_second,
        _samples(trial),
    )


def _samples(trial: Trial) -> numpy.ndarray | None:
    """Pictures of the replay model, drawn from a stream of their own."""
    with torch.no_grad(), seeding.isolated(trial.config.seed, "samples", trial.tasks_learned):
        drawn = trial.method.samples(SAMPLES_PER_ROW)
    return None if drawn is None else (drawn * 255).round().to(torch.uint8).cpu().numpy()


def result_of(trial: Trial) -> Result:
    """Of a trial that has learned all its tasks."""
    method = trial.method
    final, accuracy = _summary(trial), trial.accuracy
    if method.layout.score != "accuracy":
        accuracy = {}  # its last rows are in the metrics
    for name, matrix in trial.inference.items():
        value = metrics.task_inference_accuracy(matrix[-1])
        final[f"{name}/task_inference_accuracy"] = value
    stored, target = method.num_stored(), method.num_target_weights()
    final |= {
        "compression_ratio": stored / target,
        "num_weights": float(stored),
        "num_target_weights": float(target),
        "wall_seconds": trial.seconds,
        "steps_per_second": trial.steps_per_second,
    }
    compiling = sum(getattr(m, "compile_seconds", 0.0) for m in method.modules())
    if compiling:
        final["compile_seconds"] = compiling
    return Result(
        trial.config.to_dict(),
        accuracy,
        trial.inference,
        final,
        trial.benchmark.digest,
        versions(trial.runtime),
    )


def _summary(trial: Trial) -> dict[str, float]:
    """Headline metrics of every matrix; of errors their last row and its mean."""
    if trial.method.layout.score == "accuracy":
        return {
            f"{name}/{metric}": value
            for name, matrix in trial.accuracy.items()
            for metric, value in metrics.summary(matrix).items()
        }
    final: dict[str, float] = {}
    for name, matrix in trial.accuracy.items():
        final |= {f"{name}/mse/task_{i:02d}": value for i, value in enumerate(matrix[-1])}
        final[f"{name}/average_mse"] = metrics.average_accuracy(matrix)
        final[f"{name}/learning_mse"] = metrics.learning_accuracy(matrix)
    return final
