"""A trained learner learns one more task, as if its training had never paused."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from hcl import seeding
from hcl.benchmarks.arrays import Benchmark, TaskData, TaskSplits
from hcl.config import ConfigError
from hcl.learners.inputs import Arrays, arrange_inputs, as_tensor
from hcl.learners.learner import Labels, Learner
from hcl.results import Progress
from hcl.training.learner import train_task
from hcl.training.process import Runtime, process_settings
from hcl.training.trial_state import TrialState, load_benchmark

NewTask = tuple[Arrays, Arrays] | TaskSplits


def continue_training(
    learner: Learner,
    new_task: NewTask | None = None,
    runtime: Runtime | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Learner:
    """Learn one more task with the settings that the learner was trained with.

    A learner of the first tasks of a benchmark that learns the others in this way is equal, bit
    for bit (on the CPU, with equal threads), to one that was trained in one go.

    Args:
        learner: stays as it is.
        new_task: its inputs, as `Learner.predict` takes them, and its labels (N,), or numbers
            (N, outputs) in a regression; or a task of `hcl.load_benchmark`. None = the next task
            of the learner's own benchmark.
        runtime: device, threads, folder of the data. Nothing is checkpointed.
        progress: see `hcl.run`.

    Returns:
        A learner with one task more.

    Raises:
        ConfigError: the learner has no outputs left for a task, its method needs the data of all
            tasks, or the data do not fit.
        TrainingDiverged: a loss became NaN or infinite.
    """
    runtime = replace(runtime or Runtime(), checkpoint_dir=None)
    learner = _with_room(learner, runtime.device)
    benchmark, labels = _next_task(learner, new_task, runtime)
    config, method = learner.config, learner.method
    with process_settings(runtime), seeding.isolated(config.seed, "trial"):
        seeding.set_global_state(learner.random)
        learned = method.num_learned
        # A learner has no data of past tasks to evaluate it on.
        alone = replace(config, train=replace(config.train, eval_every=0))
        trial = TrialState(alone, runtime, benchmark, method, progress, learned)
        train_task(trial, benchmark.tasks[learned])
        random = seeding.get_global_state()
        return Learner(
            config, method.eval(), labels, random, benchmark.digest, learner.class_names
        )


def _with_room(learner: Learner, device: str) -> Learner:
    """Copy a learner; one that has learned all its tasks gets room for another, if it can.

    In the domain scenario all tasks share the outputs. What a method keeps for each task, such as
    its embedding, starts as it would have in a longer sequence.
    """
    method, state = learner.method, learner.to_state()
    num_tasks = method.layout.num_tasks
    if len(learner.tasks) == num_tasks:
        _check_growth(learner)
        state |= {"num_tasks": num_tasks + 1, "labels": [*learner.labels, learner.labels[0]]}
        setup = replace(method.setup, layout=replace(method.layout, num_tasks=num_tasks + 1))
        with seeding.isolated(learner.config.seed, "trial"):
            longer = type(method)(setup).state_dict()
        state["method"] = {**longer, **state["method"]}
    return Learner.from_state(deepcopy(state), device)


def _check_growth(learner: Learner) -> None:
    method, num_tasks = learner.method, learner.method.layout.num_tasks
    if learner.config.scenario != "domain":
        raise ConfigError(
            f"this learner has outputs for {num_tasks} tasks and has learned them all; train one"
            " with a larger benchmark/num_tasks, whose first_tasks leave room for others"
        )
    if getattr(method, "replay_model", None) is not None:
        raise ConfigError(
            f"the replay model of this {learner.config.method_name} has not learned the last of"
            f" its {num_tasks} tasks, which nothing was to follow; train one with a larger"
            " benchmark/num_tasks, whose first_tasks leave room for others"
        )


def _next_task(
    learner: Learner, new_task: NewTask | None, runtime: Runtime
) -> tuple[Benchmark, tuple[Labels, ...]]:
    """Return a benchmark that holds the new task at its place, and the labels of all tasks."""
    config, method = learner.config, learner.method
    if new_task is None:
        benchmark = load_benchmark(config, runtime)
        if benchmark.digest != learner.data_digest:
            raise ConfigError(
                f"new_task: the learner was trained on other data ({learner.data_digest}) than"
                f" {config.benchmark.name} has here ({benchmark.digest}); give the task's data"
            )
        if len(learner.tasks) == len(benchmark.tasks):
            raise ConfigError(
                f"new_task: {config.benchmark.name} has {len(benchmark.tasks)} tasks, and all are"
                " learned; give the data of another"
            )
        return benchmark, learner.labels
    if method.trains_on_all_tasks:
        raise ConfigError(
            f"new_task: {config.method_name} trains on the data of all tasks, and a learner does"
            " not hold those of the past"
        )
    place = len(learner.tasks)
    if isinstance(new_task, TaskSplits):
        task = replace(new_task, task_id=place)
    else:
        task = _task_of_arrays(learner, *new_task)
    if config.train.plateau_patience and not len(task.val):
        raise ConfigError("new_task: train/plateau_patience needs its validation data too")
    x, y = (data.cpu().contiguous().numpy().tobytes() for data in (task.train.x, task.train.y))
    digest = hashlib.sha256(learner.data_digest.encode() + x + y).hexdigest()[:16]
    past = tuple(replace(task, task_id=i) for i in range(place))  # never read
    layout = method.layout
    benchmark = Benchmark(
        config.benchmark.name, (*past, task), learner.input_shape, layout.classes_per_task, digest
    )
    labels = (*learner.labels[:place], task.labels, *learner.labels[place + 1 :])
    return benchmark.to(runtime.device), labels


def _task_of_arrays(learner: Learner, x: Arrays, y: Arrays) -> TaskSplits:
    """Make a task of a user's arrays."""
    inputs = arrange_inputs(x, learner.input_shape, learner.config.benchmark.padding)
    targets, labels = as_tensor(y), Labels()
    if len(inputs) != len(targets) or not len(inputs):
        raise ConfigError(
            f"new_task: must have as many labels as inputs but has {len(targets)} labels for"
            f" {len(inputs)} inputs"
        )
    if learner.method.layout.score == "accuracy":
        targets, labels = _numbered(targets, learner.method.layout.sizes[len(learner.tasks)])
    if inputs.dtype != torch.uint8:
        inputs = inputs.float()
    train, none = TaskData(inputs, targets), TaskData(inputs[:0], targets[:0])
    return TaskSplits(len(learner.tasks), train, none, none, labels)


def _numbered(y: Tensor, num_classes: int) -> tuple[Tensor, Labels]:
    """Number the classes of a task from 0 in the order of their labels."""
    if y.ndim != 1 or y.is_floating_point():
        raise ConfigError(
            f"new_task: labels must be whole numbers (N,) but are {y.dtype} {tuple(y.shape)}"
        )
    labels, numbers = y.unique(return_inverse=True)
    if len(labels) != num_classes:
        raise ConfigError(
            f"new_task: it has {len(labels)} classes, but every task of this learner has"
            f" {num_classes}"
        )
    return numbers, tuple(labels.tolist())
