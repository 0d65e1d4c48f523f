"""Reports of a trial: one after each task, and the result at the end."""

import numpy
import torch

from hcl import metrics, seeding
from hcl.results import Result, TaskReport
from hcl.training.process import versions
from hcl.training.trial_state import TrialState

SAMPLES_PER_ROW = 10


def task_report(trial: TrialState, task_id: int, scores: dict[str, float]) -> TaskReport:
    """Report a task that has been learned, with its `scores` and the last losses."""
    losses = {f"loss/{name}": value for name, value in trial.losses.items()}
    return TaskReport(
        task_id,
        trial.tasks_learned,
        len(trial.benchmark.tasks),
        {**scores, **losses},
        trial.seconds,
        trial.steps_per_second,
        _samples(trial),
        _curves(trial),
    )


def _curves(trial: TrialState) -> list[list[float]] | None:
    """Predict at each learned task's test inputs, where targets are single numbers."""
    method = trial.method
    if method.layout.score != "mse" or method.layout.num_outputs != 1:
        return None
    method.eval()
    found = []
    with torch.no_grad():
        for task in trial.benchmark.tasks[: trial.tasks_learned]:
            x, _ = task.test.batch(torch.arange(len(task.test), device=task.test.x.device))
            found.append(method.predict(x, task.task_id).logits[:, 0].tolist())
    return found


def _samples(trial: TrialState) -> numpy.ndarray | None:
    """Draw pictures from the replay model, with a random stream of their own."""
    with torch.no_grad(), seeding.isolated(trial.config.seed, "samples", trial.tasks_learned):
        drawn = trial.method.samples(SAMPLES_PER_ROW)
    return None if drawn is None else (drawn * 255).round().to(torch.uint8).cpu().numpy()


def result_of(trial: TrialState) -> Result:
    """Give the result of a trial that has learned all its tasks."""
    method = trial.method
    final, accuracy = _summary(trial), trial.accuracy
    if method.layout.score != "accuracy":
        accuracy = {}  # its last rows are in the metrics
    for name, matrix in trial.inference.items():
        value = metrics.task_inference_accuracy(matrix[-1])
        final[f"{name}/task_inference_accuracy"] = value
    final |= _zero_shot(trial)
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
        trial.unlearned,
        trial.learner(),
    )


def _zero_shot(trial: TrialState) -> dict[str, float]:
    """Give the transfer to tasks before they are learned; an untrained network is at chance."""
    chance = [1 / trial.method.layout.num_outputs] * len(trial.benchmark.tasks)
    final: dict[str, float] = {}
    for name, rows in trial.unlearned.items():
        # The last task leaves none to learn, and so no row.
        full = [a + b for a, b in zip(trial.accuracy[name], [*rows, []], strict=True)]
        final[f"{name}/zero_shot_transfer"] = metrics.zero_shot_transfer(full, chance)
        final[f"{name}/mean_zero_shot_transfer"] = metrics.mean_zero_shot_transfer(full)
    return final


def _summary(trial: TrialState) -> dict[str, float]:
    """Give the headline metrics of every matrix; of squared errors the last row and its mean."""
    if trial.method.layout.score == "accuracy":
        return {
            f"{name}/{metric}": value
            for name, matrix in trial.accuracy.items()
            for metric, value in (metrics.summary(matrix) | metrics.more(matrix)).items()
        }
    final: dict[str, float] = {}
    for name, matrix in trial.accuracy.items():
        final |= {f"{name}/mse/task_{i:02d}": value for i, value in enumerate(matrix[-1])}
        final[f"{name}/average_mse"] = metrics.average_accuracy(matrix)
        final[f"{name}/learning_mse"] = metrics.learning_accuracy(matrix)
    return final
