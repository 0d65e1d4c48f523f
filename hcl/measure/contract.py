"""Checks of what every method must keep to, on two tiny tasks, with words for what is wrong."""

import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from hcl.config import ConfigError, TrialConfig
from hcl.results import Progress, Result
from hcl.training.learner import TrainingDiverged, run
from hcl.training.process import Runtime
from hcl.training.trial_state import start_trial

STEPS, SAVED_AT = 6, 4  # steps per task; where a checkpoint is written
INPUTS = 5


class Finding(NamedTuple):
    """One thing that was tried, and what is wrong with it; "" where nothing is."""

    tried: str
    problem: str = ""


class _Stop(Exception):
    """Ends a training as a kill would."""


def check_method(name: str) -> Iterator[Finding]:
    """Try a method in every scenario that it says it has: a finding for each thing tried.

    Args:
        name: registry key or import path.

    Raises:
        ConfigError: there is no such method, or its settings cannot be used.
    """
    for scenario in TrialConfig.from_dict(_settings(name)).method.SCENARIOS:
        config = TrialConfig.from_dict({**_settings(name), "scenario": scenario})
        for tried, problem in check_trial(config):
            yield Finding(f"{scenario}: {tried}", problem)


def check_trial(config: TrialConfig) -> Iterator[Finding]:
    """Try the method of a trial of two tasks, as `check_method` does in each scenario.

    Args:
        config: a trial so short that it can be trained several times, of more than SAVED_AT steps
            a task.
    """
    try:
        for tried, check in (
            ("two tasks are learned, with finite losses", _learns),
            ("the same seed gives the same result", _repeats),
            ("a training that was killed goes on as if it had not been", _resumes),
            ("predictions have the right shape", _predicts),
            ("predictions between two steps change nothing", _only_looks),
        ):
            yield Finding(tried, check(config))
    except Exception as error:  # whatever a user's method raises
        yield Finding(tried, _describe(error))


def steps_per_second(name: str) -> float:
    """Measure the training speed of a method on the tiny tasks."""
    config = TrialConfig.from_dict({**_settings(name), "train/iterations": 200})
    return _run(config)[0].metrics["steps_per_second"]


def _settings(name: str) -> dict[str, object]:
    return {
        "benchmark/name": "split_digits",
        "benchmark/num_tasks": 2,
        "target/hidden_sizes": [8],
        "method/name": name,
        "train/iterations": STEPS,
        "train/batch_size": 16,
    }


def _run(
    config: TrialConfig, folder: str | None = None, stop: bool = False
) -> tuple[Result, list[float]]:
    """Train, and return the result and the last losses of each task."""
    losses: list[float] = []

    def progress(place: Progress) -> None:
        if stop and place.task_id == 1:
            raise _Stop
        losses.extend(place.losses.values())

    runtime = Runtime(threads=1, checkpoint_dir=folder, checkpoint_every=SAVED_AT)
    return run(config, progress=progress, runtime=runtime), losses


def _learns(config: TrialConfig) -> str:
    try:
        result, losses = _run(config)
    except TrainingDiverged as error:
        return str(error)
    if not losses:
        return "train_step returns no loss; return {'task': loss.detach()}"
    for name, matrix in result.accuracy.items():
        lengths, scores = [len(row) for row in matrix], [score for row in matrix for score in row]
        if lengths != [1, 2] or not all(0 <= score <= 1 for score in scores):
            return f"its accuracies {name} are {matrix}, no triangle of numbers from 0 to 1"
    return ""


def _repeats(config: TrialConfig) -> str:
    (one, first), (other, second) = _run(config), _run(config)
    if (first, one.accuracy, one.inference) != (second, other.accuracy, other.inference):
        return (
            f"losses were {first} and then {second}; draw random numbers from torch's global"
            " generators or from hcl.seeding.generator"
        )
    if _run(replace(config, seed=config.seed + 1))[1] == first:
        return (
            f"another seed gives the same losses, {first}; draw initial weights from torch's"
            " global generators"
        )
    return ""


def _resumes(config: TrialConfig) -> str:
    whole, losses = _run(config)
    with tempfile.TemporaryDirectory() as folder:
        with suppress(_Stop):
            _run(config, folder, stop=True)
        again, last = _run(config, folder)
    results = [(result.accuracy, result.inference) for result in (whole, again)]
    if results[0] == results[1] and losses[len(losses) - len(last) :] == last:
        return ""
    return (
        f"its last losses are {last} and not {losses[len(losses) - len(last) :]}; what it keeps"
        " between steps and tasks belongs into get_extra_state and set_extra_state"
    )


def _predicts(config: TrialConfig) -> str:
    with tempfile.TemporaryDirectory() as folder:
        _run(config, folder)
        trial = start_trial(config, Runtime(threads=1, checkpoint_dir=folder), None)
    method, x = trial.method.eval(), trial.benchmark.tasks[0].test.batch(torch.arange(INPUTS))[0]
    with torch.no_grad():
        logits, task_ids = method.predict(x, 0 if config.scenario == "task" else None)
    wanted = (INPUTS, method.layout.num_outputs)
    if tuple(logits.shape) != wanted:
        return f"the logits of {INPUTS} inputs have the shape {tuple(logits.shape)}, not {wanted}"
    if bool(logits[:, method.layout.head(0)].isnan().any()):
        return "logits of the first task are NaN"
    if task_ids is not None and (task_ids.shape != (INPUTS,) or task_ids.dtype != torch.int64):
        return f"task_ids are {task_ids.dtype} {tuple(task_ids.shape)}, not int64 ({INPUTS},)"
    if task_ids is not None and not set(task_ids.tolist()) <= {0, 1}:
        return f"task_ids are {task_ids.tolist()}, but only tasks 0 and 1 have been learned"
    return ""


def _only_looks(config: TrialConfig) -> str:
    """Compare trainings with and without evaluations within tasks, in all that a restart needs."""
    watched = replace(config, benchmark=replace(config.benchmark, val_fraction=0.2))
    looks = replace(watched, train=replace(watched.train, eval_every=2))
    (one, first), (other, second) = _state(watched), _state(looks)
    if (one.accuracy, one.inference) == (other.accuracy, other.inference) and first == second:
        return ""
    return (
        "a training with train/eval_every ends elsewhere than one without; predict must change"
        " nothing that train_step reads, and draw no number from a generator of its own"
    )


def _state(config: TrialConfig) -> tuple[Result, list[bytes]]:
    """Train, and return the result and the bytes of the parameters and buffers."""
    with tempfile.TemporaryDirectory() as folder:
        result, _ = _run(config, folder)
        trial = start_trial(config, Runtime(threads=1, checkpoint_dir=folder), None)
    values = trial.method.state_dict().items()
    tensors = [value for _, value in values if isinstance(value, torch.Tensor)]
    return result, [tensor.cpu().numpy().tobytes() for tensor in tensors]


def _describe(error: Exception) -> str:
    """Say what was raised, and in which line."""
    if isinstance(error, ConfigError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    frame = [frame for frame in frames if "site-packages" not in frame.filename][-1]
    text = next(iter(str(error).splitlines()), "no details")
    return f"{type(error).__name__}: {text} ({Path(frame.filename).name}, line {frame.lineno})"
