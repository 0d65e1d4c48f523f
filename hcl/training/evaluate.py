"""Scores of what has been learned: the rows of the accuracy matrices."""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from hcl import metrics, seeding
from hcl.benchmarks.arrays import TaskData, TaskSplits
from hcl.config.methods import ScenarioName
from hcl.learners.inputs import inputs_at_once
from hcl.methods.base import Method
from hcl.training.trial_state import TrialState

SPLITS = ("val", "test")


def score_tasks(trial: TrialState) -> dict[str, float]:
    """Score all tasks learned so far and add a row to each of the trial's matrices.

    Returns:
        The rows and their means, as named metrics.
    """
    scores: dict[str, float] = {}
    for name, (accuracies, inferred) in _evaluate(trial, SPLITS).items():
        trial.accuracy.setdefault(name, []).append(accuracies)
        if inferred:
            trial.inference.setdefault(name, []).append(inferred)
        scores |= name_scores(name, trial.method.layout.score, accuracies, inferred)
    if trial.config.train.zero_shot:
        scores |= _score_unlearned(trial)
    return scores


def _score_unlearned(trial: TrialState) -> dict[str, float]:
    """Score the tasks that are still to learn, and add a row to each matrix of them."""
    later = trial.benchmark.tasks[trial.method.num_learned :]
    at_once = trial.config.train.eval_batch_size
    rows = evaluate_row(trial.method, later, trial.config.scenario, at_once)
    scores: dict[str, float] = {}
    for split, (accuracies, _) in rows.items():
        name = f"{split}/{trial.config.scenario}"
        trial.unlearned.setdefault(name, []).append(accuracies)
        scores |= name_unlearned(name, trial.method.num_learned, accuracies)
    return scores


def name_unlearned(name: str, num_learned: int, row: Sequence[float] = ()) -> dict[str, float]:
    """Name the accuracies on the tasks that are still to learn, the next one first."""
    return {f"{name}/zero_shot/task_{i:02d}": v for i, v in enumerate(row, start=num_learned)}


def score_within_task(trial: TrialState) -> dict[str, float]:
    """Score the tasks so far on validation data, between two training steps.

    The trial stays as it is, torch's random generators included.
    """
    scores: dict[str, float] = {}
    with seeding.isolated("within task"):
        for name, (accuracies, inferred) in _evaluate(trial, ("val",)).items():
            scores |= name_scores(name, trial.method.layout.score, accuracies, inferred)
    trial.method.train()
    return scores


def _evaluate(
    trial: TrialState, splits: Sequence[str]
) -> dict[str, tuple[list[float], list[float]]]:
    """Evaluate in each of the trial's scenarios: name of a matrix -> as `evaluate_row`."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    trial.method.eval()
    # The task scenario last: it can use the weights that the others generate for all tasks.
    for scenario in sorted(trial.config.eval_scenarios, key=lambda name: name == "task"):
        at_once = trial.config.train.eval_batch_size
        learned = trial.benchmark.tasks[: trial.method.num_learned]
        rows = evaluate_row(trial.method, learned, scenario, at_once, splits)
        found |= {f"{split}/{scenario}": row for split, row in rows.items()}
    return found


def name_scores(
    name: str, score: str, row: Sequence[float], inferred: Sequence[float] = ()
) -> dict[str, float]:
    """Name a row of a matrix and its mean as metrics.

    Args:
        name: the matrix, such as "test/task".
        score: "accuracy" or "mse".
        row: score of each task learned so far.
        inferred: share of each task's inputs whose task was inferred right; empty where the
            method infers none.
    """
    short = {"accuracy": "acc"}.get(score, score)
    scores = {f"{name}/{short}/task_{i:02d}": value for i, value in enumerate(row)}
    # As `metrics.average_accuracy` sums: the last row's mean and the result's are one number.
    scores[f"{name}/average_{score}"] = fmean(row)
    if inferred:
        scores[f"{name}/task_inference_accuracy"] = metrics.task_inference_accuracy(inferred)
    return scores


@torch.no_grad()
def evaluate_row(
    method: Method,
    tasks: Sequence[TaskSplits],
    scenario: ScenarioName,
    batch_size: int,
    splits: Sequence[str] = SPLITS,
) -> dict[str, tuple[list[float], list[float]]]:
    """Score tasks in one scenario.

    Args:
        method: in evaluation mode.
        tasks: of the sequence, such as those learned so far.
        scenario: decides whether the task is given and which outputs compete.
        batch_size: inputs at once; 0 = as many as `inputs_at_once` says.
        splits: data to score.

    Returns:
        Split -> (accuracy on each task, share of each task's inputs whose task was inferred right;
        empty where the method infers none). No entry for an empty split.
    """
    counts: dict[str, list[Tensor]] = {}
    for task in tasks:
        for split in splits:
            data: TaskData = getattr(task, split)
            if len(data):
                right = sum_scores(method, data, task.task_id, scenario, batch_size)
                counts.setdefault(split, []).append(right / len(data))
    # One synchronisation with the device per split, not one per batch.
    rows = {split: torch.stack(rights).tolist() for split, rights in counts.items()}
    return {
        split: ([r[0] for r in row], [r[1] for r in row if r[1] >= 0])
        for split, row in rows.items()
    }


def sum_scores(
    method: Method, data: TaskData, task_id: int, scenario: ScenarioName, batch_size: int
) -> Tensor:
    """Sum the scores of one task's inputs, by a method in evaluation mode.

    Returns:
        float64 (2,): scores (right answers, or squared errors), and inputs whose task was inferred
        right; the second is negative where no task is inferred.
    """
    layout = method.layout
    total = torch.zeros(2, dtype=torch.float64, device=data.x.device)
    at_once = batch_size or inputs_at_once(data.x)
    for index in torch.arange(len(data), device=data.x.device).split(at_once):
        x, y = data.batch(index)
        logits, task_ids = method.predict(x, task_id if scenario == "task" else None)
        total[0] += layout.sum_score(logits, y, task_id, method.num_learned, scenario)
        total[1] += -len(y) if task_ids is None else (task_ids == task_id).sum()
    return total
