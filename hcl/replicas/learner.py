"""Several seeds of one configuration trained together, in one process.

Each replica is a trial of its own, with the data order, checkpoints, reports and result that
`hcl.run` would give it. Only the training steps are shared (`HnetReplicas`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from hcl import seeding
from hcl.benchmarks.arrays import Benchmark, TaskSplits
from hcl.config import TrialConfig
from hcl.methods.hnet import Hnet
from hcl.replicas.groups import check_replicas
from hcl.replicas.hnet_replicas import HnetReplicas
from hcl.results import Progress, Result, TaskReport
from hcl.training.batches import make_batches
from hcl.training.learner import (
    READ_EVERY,
    TrainingDiverged,
    do_what_is_due,
    finish_task,
    take_losses,
)
from hcl.training.process import Runtime, process_settings
from hcl.training.report import result_of
from hcl.training.trial_state import TrialState, load_benchmark, start_trial


@dataclass(frozen=True)
class Replica:
    """One of the trials that are trained together.

    Attributes:
        config: equal to the others' but for seed, method/beta and train/lr.
        report: see `hcl.run`. The last replica reports first: once the first one has reported a
            task, all have.
        progress: see `hcl.run`.
        diverged: called once if the training of this replica diverges; the others go on.
        checkpoint_dir: used in place of the runtime's.
    """

    config: TrialConfig
    report: Callable[[TaskReport], None] | None = None
    progress: Callable[[Progress], None] | None = None
    diverged: Callable[[TrainingDiverged], None] | None = None
    checkpoint_dir: Path | str | None = None


def run_replicas(
    replicas: Sequence[Replica], runtime: Runtime | None = None
) -> list[Result | TrainingDiverged]:
    """Train trials together; each result is that of the trial alone, within float tolerance.

    Training goes on from the replicas' checkpoints; those that are behind are trained first.

    Args:
        replicas: the trials.
        runtime: device, threads and the like, for all of them; its checkpoint_dir is not read.

    Returns:
        A result for each of `replicas`, or why its training failed.

    Raises:
        ConfigError: the trials cannot be trained together, or `hcl.run` would raise it.
    """
    runtime = runtime or Runtime()
    check_replicas([replica.config for replica in replicas])
    with process_settings(runtime):
        benchmark = load_benchmark(replicas[0].config, runtime)
        running = [_Running(replica, runtime, benchmark) for replica in replicas]
        while todo := [one for one in running if one.is_training]:
            _train_on(todo)
        found: list[Result | TrainingDiverged] = []
        for one in running:
            versions = {"replicas": str(len(running))}
            with one.alone() as trial:  # its learner goes on from its own random state
                result = one.failure or result_of(trial)
            if isinstance(result, Result):
                result = replace(result, versions={**result.versions, **versions})
            found.append(result)
        return found


class _Running:
    """A replica in training, with its own state of torch's global random generators."""

    def __init__(self, replica: Replica, runtime: Runtime, benchmark: Benchmark) -> None:
        self.replica = replica
        self.failure: TrainingDiverged | None = None
        config, own = replica.config, replace(runtime, checkpoint_dir=replica.checkpoint_dir)
        with seeding.isolated(config.seed, "trial"):
            # HypernetReplicas has optimizers of its own: nobody would use what is compiled here.
            plain = replace(config, train=replace(config.train, compile="off"))
            self.trial = start_trial(plain, own, replica.progress, benchmark)
            self.trial.config = config
            self._random = seeding.get_global_state()

    @property
    def method(self) -> Hnet:
        method = self.trial.method
        assert isinstance(method, Hnet)
        return method

    @property
    def is_training(self) -> bool:
        learned = self.trial.tasks_learned
        return self.failure is None and learned < len(self.trial.benchmark.tasks)

    @property
    def position(self) -> tuple[int, int, bool]:
        """Task, step, and whether past tasks are regularized: the same where steps are shared."""
        has_penalty = self.method.config.beta > 0
        return self.trial.tasks_learned, self.trial.step, has_penalty

    @contextmanager
    def alone(self) -> Iterator[TrialState]:
        """Yield the trial, with its random state as the process's own for the time being."""
        with seeding.isolated("replicas"):
            seeding.set_global_state(self._random)
            yield self.trial
            self._random = seeding.get_global_state()


def _train_on(running: list[_Running]) -> None:
    """Train the replicas that are furthest behind, up to the next one's step or the task's end."""
    task_id, first, _ = position = min(one.position for one in running)
    together = [one for one in running if one.position == position]
    ahead = [one.trial.step for one in running if one.trial.tasks_learned == task_id]
    iterations = together[0].trial.num_steps(task_id)
    until = min([step for step in ahead if step > first], default=iterations)
    task = together[0].trial.benchmark.tasks[task_id]
    began = time.monotonic()
    for one in together:
        with one.alone() as trial:
            if first == 0:
                trial.method.start_task(task)
            trial.method.train()
    _Steps(together, task).train(first, until, began)
    together = [one for one in together if one.failure is None]
    if together and together[0].trial.step == iterations:
        for one in reversed(together):
            with one.alone() as trial:
                trial.method.end_task(task)
                trial.tasks_learned, trial.step = task_id + 1, 0
                finish_task(trial, task, one.replica.report)


class _Steps:
    """The steps of one task, of replicas that are at the same step."""

    def __init__(self, running: list[_Running], task: TaskSplits) -> None:
        self.running, self.task = running, task
        self.shared = HnetReplicas([one.method for one in running])
        trial = running[0].trial
        self.iterations = trial.num_steps(task.task_id)
        self.batches = [make_batches(one.trial, task) for one in running]

    def train(self, first: int, until: int, began: float) -> None:
        """Train up to `until`, or until a replica diverges; the others stay where they are."""
        for step in range(first + 1, until + 1):
            losses = self.shared.train_step(*self._batch(step - 1))
            for one in self.running:
                one.trial.step = step
            due = self.running[0].trial.due(self.iterations)
            if step % READ_EVERY == 0 or step == self.iterations or due.scores:
                self._take(losses)
            alive = [one for one in self.running if one.failure is None]
            is_over = step == until or len(alive) < len(self.running)
            if not (is_over or due.scores or due.checkpoint):
                continue
            self.shared.write_back()
            for one in alive:
                one.trial.train_seconds += time.monotonic() - began
            for one in alive if due.scores or due.checkpoint else ():
                with one.alone() as trial:
                    do_what_is_due(trial, self.task, due)
            began = time.monotonic()
            if is_over:
                return

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Stack the replicas' batches: (R, B, *input_shape) and (R, B)."""
        xs, ys = zip(*(batches.at(step) for batches in self.batches), strict=True)
        return torch.stack(xs), torch.stack(ys)

    def _take(self, losses: dict[str, Tensor]) -> None:
        rows = torch.stack(list(losses.values()), dim=1).tolist()  # waits for the device once
        for one, row in zip(self.running, rows, strict=True):
            try:
                take_losses(one.trial, self.task, dict(zip(losses, row, strict=True)))
            except TrainingDiverged as error:
                one.failure = error
                if one.replica.diverged:
                    one.replica.diverged(error)
