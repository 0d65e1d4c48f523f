"""The only training loop: one trial, a whole task sequence, from configuration to result."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from hcl import seeding
from hcl.benchmarks.arrays import TaskSplits
from hcl.config import ConfigError, TrialConfig, as_trial
from hcl.results import Progress, Result, TaskReport
from hcl.training.batches import make_batches
from hcl.training.evaluate import score_tasks, score_within_task, sum_scores
from hcl.training.process import Runtime, process_settings
from hcl.training.report import result_of, task_report
from hcl.training.schedule import Plateau, epoch_length, learning_rate
from hcl.training.trial_state import Due, TrialState, start_trial

__all__ = ["Runtime", "TrainingDiverged", "run"]

# Steps between two reads of the losses: each read waits for the device.
READ_EVERY = 100


class TrainingDiverged(RuntimeError):
    """A loss became NaN or infinite."""


def run(
    config: TrialConfig | Mapping[str, Any],
    report: Callable[[TaskReport], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    runtime: Runtime | None = None,
    first_tasks: int | None = None,
) -> Result:
    """Train a task sequence and score all tasks learned so far after each one.

    It goes on from the newest readable checkpoint in `runtime.checkpoint_dir`. The result is the
    same, bit for bit, as without the interruption (on the CPU).

    Args:
        config: the trial, or its settings, nested or flat.
        report: called after each task, before its checkpoint is written: after a kill a task may
            be reported twice, but none is left out.
        progress: called every 100 steps, at a task's end and, with its scores, after each
            evaluation within a task (`train/eval_every`), which is not made without it.
        runtime: device, threads, checkpoints.
        first_tasks: learn the first so many tasks alone; `hcl.continue_training` learns others
            later. None = all.

    Returns:
        The scores, and the trained `learner`.

    Raises:
        ConfigError: first_tasks is out of range, data missing, device unavailable, or checkpoints
            of another trial.
        TrainingDiverged: a loss became NaN or infinite.
    """
    config, runtime = as_trial(config), runtime or Runtime()
    with process_settings(runtime), seeding.isolated(config.seed, "trial"):
        trial = start_trial(config, runtime, progress)
        tasks = trial.benchmark.tasks
        if first_tasks is not None and not 1 <= first_tasks <= len(tasks):
            raise ConfigError(f"first_tasks: must be 1 to {len(tasks)} but got {first_tasks}")
        for task in tasks[trial.tasks_learned : first_tasks]:
            train_task(trial, task)
            finish_task(trial, task, report)
        return result_of(trial)


def train_task(trial: TrialState, task: TaskSplits) -> None:
    """Train on one task, from the step that the trial has reached."""
    method, num_steps = trial.method, trial.num_steps(task.task_id)
    if trial.step == 0:
        trial.plateau = Plateau()
        method.start_task(task)
    batches = make_batches(trial, task)
    method.train()
    rate = None
    began = time.monotonic()
    for step in range(trial.step, num_steps):
        rate = _set_learning_rate(trial, step / num_steps, rate)
        x, y = batches.at(step)
        losses = method.train_step(x, y)
        trial.step = step + 1
        due = trial.due(num_steps)
        if trial.step % READ_EVERY == 0 or trial.step == num_steps or due.scores:
            values = torch.stack(list(losses.values())).tolist() if losses else []
            take_losses(trial, task, dict(zip(losses, values, strict=True)))
        _watch_plateau(trial, task)
        if due.scores or due.checkpoint:
            trial.train_seconds += time.monotonic() - began
            do_what_is_due(trial, task, due)
            began = time.monotonic()
    method.end_task(task)
    trial.train_seconds += time.monotonic() - began
    trial.tasks_learned, trial.step = task.task_id + 1, 0


def _set_learning_rate(trial: TrialState, done: float, last: float | None) -> float | None:
    """Give the method the next step's learning rate where it differs from the last one.

    Args:
        trial: its schedule decides.
        done: part of the task's steps already taken, 0 to 1.
        last: the learning rate of the last step; None = not known.
    """
    train = trial.config.train
    if not train.is_scheduled:
        return None
    rate = learning_rate(train, done, trial.plateau)
    if rate != last:
        trial.method.set_learning_rate(rate)
    return rate


def _watch_plateau(trial: TrialState, task: TaskSplits) -> None:
    """Observe the task's validation score after each of its epochs."""
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


def take_losses(trial: TrialState, task: TaskSplits, losses: dict[str, float]) -> None:
    """Keep the last losses and report progress.

    Raises:
        TrainingDiverged: a loss is NaN or infinite.
    """
    trial.losses = losses
    for name, value in trial.losses.items():
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"the {name} loss is {value} at step {trial.step} of task {task.task_id};"
                " try a smaller train/lr"
            )
    _show_progress(trial, task, trial.step, {})


def do_what_is_due(trial: TrialState, task: TaskSplits, due: Due) -> None:
    """Score, and then save: what was scored is not scored again after a restart from there."""
    if due.scores and trial.progress:
        _show_progress(trial, task, trial.step, score_within_task(trial))
    if due.checkpoint:
        trial.save()


def _show_progress(
    trial: TrialState, task: TaskSplits, step: int, scores: dict[str, float]
) -> None:
    if trial.progress:
        num_tasks, iterations = len(trial.benchmark.tasks), trial.num_steps(task.task_id)
        losses, seconds, total = trial.losses, trial.seconds, trial.total_steps
        trial.progress(
            Progress(task.task_id, num_tasks, step, iterations, losses, seconds, total, scores)
        )


def finish_task(
    trial: TrialState, task: TaskSplits, report: Callable[[TaskReport], None] | None
) -> None:
    """Score the tasks learned so far, report, and only then save."""
    scores = score_tasks(trial)
    if trial.config.train.eval_every:
        known = {name: value for name, value in scores.items() if name.startswith("val/")}
        _show_progress(trial, task, trial.num_steps(task.task_id), known)
    if report:
        report(task_report(trial, task.task_id, scores))
    trial.save()  # last: after a kill a task may be reported twice, but none is left out
