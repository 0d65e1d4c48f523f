"""Several seeds of one configuration trained as a batch, in one process.

Each is a trial of its own, with its data order, checkpoints, reports and result, as `hcl.run`
would have it: training steps alone are shared (`HnetStack`).
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
from hcl.replicas.groups import check_lot
from hcl.replicas.hnet_stack import HnetStack
from hcl.results import Progress, Result, TaskReport
from hcl.training.learner import (
    READ_EVERY,
    TrainingDiverged,
    finish_task,
    load_benchmark,
    make_batches,
    result_of,
    start_trial,
    take_losses,
)
from hcl.training.process import process_settings
from hcl.training.trial import Runtime, Trial


@dataclass(frozen=True)
class Replica:
    """One of the trials.

    Attributes:
        config: equal to the others' but for seed, method/beta and train/lr.
        report: as `hcl.run`'s. The last replica reports first: once the first one has reported a
            task, all have.
        progress: as `hcl.run`'s.
        diverged: called once if its training diverges; the others go on.
        checkpoint_dir: its own, in place of the runtime's.
    """

    config: TrialConfig
    report: Callable[[TaskReport], None] | None = None
    progress: Callable[[Progress], None] | None = None
    diverged: Callable[[TrainingDiverged], None] | None = None
    checkpoint_dir: Path | str | None = None


def run_replicas(
    replicas: Sequence[Replica], runtime: Runtime | None = None
) -> list[Result | TrainingDiverged]:
    """Train trials as a batch; each result is that of the trial alone, within float tolerance.

    Goes on from the replicas' checkpoints; those behind are trained first.

    Args:
        replicas: the trials.
        runtime: of all; its checkpoint_dir is not read.

    Returns:
        In the order of `replicas`.

    Raises:
        ConfigError: they cannot be trained as a batch, or what `hcl.run` raises.
    """
    runtime = runtime or Runtime()
    check_lot([replica.config for replica in replicas])
    with process_settings(runtime):
        benchmark = load_benchmark(replicas[0].config, runtime)
        seats = [_Seat(replica, runtime, benchmark) for replica in replicas]
        while todo := [seat for seat in seats if seat.is_training]:
            _train_on(todo)
        found: list[Result | TrainingDiverged] = []
        for seat in seats:
            versions = {"replicas": str(len(seats))}
            result = seat.failure or result_of(seat.trial)
            if isinstance(result, Result):
                result = replace(result, versions={**result.versions, **versions})
            found.append(result)
        return found


class _Seat:
    """A replica under way, with its own state of torch's global random generators."""

    def __init__(self, replica: Replica, runtime: Runtime, benchmark: Benchmark) -> None:
        self.replica = replica
        self.failure: TrainingDiverged | None = None
        config, own = replica.config, replace(runtime, checkpoint_dir=replica.checkpoint_dir)
        with seeding.isolated(config.seed, "trial"):
            # The batch has an optimizer of its own: nobody would use what is compiled here.
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
        """Task, step, and whether past tasks are regularized: what a batch has in common."""
        has_penalty = self.method.config.beta > 0
        return self.trial.tasks_learned, self.trial.step, has_penalty

    @contextmanager
    def alone(self) -> Iterator[Trial]:
        """Its trial, with its random state in place of the process's."""
        with seeding.isolated("replicas"):
            seeding.set_global_state(self._random)
            yield self.trial
            self._random = seeding.get_global_state()


def _train_on(seats: list[_Seat]) -> None:
    """Train those that are furthest behind, up to the next one's step or the task's end."""
    task_id, first, has_penalty = position = min(seat.position for seat in seats)
    together = [seat for seat in seats if seat.position == position]
    ahead = [seat.trial.step for seat in seats if seat.trial.tasks_learned == task_id]
    iterations = together[0].trial.num_steps(task_id)
    until = min([step for step in ahead if step > first], default=iterations)
    task = together[0].trial.benchmark.tasks[task_id]
    began = time.monotonic()
    for seat in together:
        with seat.alone() as trial:
            if first == 0:
                trial.method.start_task(task)
            trial.method.train()
    _Steps(together, task).train(first, until, began)
    together = [seat for seat in together if seat.failure is None]
    if together and together[0].trial.step == iterations:
        for seat in reversed(together):
            with seat.alone() as trial:
                trial.method.end_task(task)
                trial.tasks_learned, trial.step = task_id + 1, 0
                finish_task(trial, task, seat.replica.report)


class _Steps:
    """Steps of one task, of replicas at the same one."""

    def __init__(self, seats: list[_Seat], task: TaskSplits) -> None:
        self.seats, self.task = seats, task
        self.stack = HnetStack([seat.method for seat in seats])
        trial = seats[0].trial
        self.iterations = trial.num_steps(task.task_id)
        self.every = trial.runtime.checkpoint_every
        self.batches = [make_batches(seat.trial, task) for seat in seats]

    def train(self, first: int, until: int, began: float) -> None:
        """Up to `until`, or until some diverge: the others are left at the step they are at."""
        for step in range(first + 1, until + 1):
            losses = self.stack.train_step(*self._batch(step - 1))
            if step % READ_EVERY == 0 or step == self.iterations:
                self._take(losses, step)
            alive = [seat for seat in self.seats if seat.failure is None]
            is_over = step == until or len(alive) < len(self.seats)
            is_due = bool(self.every) and step % self.every == 0 and step < self.iterations
            if not (is_over or is_due):
                continue
            self.stack.write_back()
            for seat in alive:
                seat.trial.step = step
                seat.trial.train_seconds += time.monotonic() - began
            for seat in alive if is_due else ():
                with seat.alone() as trial:
                    trial.save()
            began = time.monotonic()
            if is_over:
                return

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """(R, B, *input_shape) and (R, B)."""
        xs, ys = zip(*(batches.at(step) for batches in self.batches), strict=True)
        return torch.stack(xs), torch.stack(ys)

    def _take(self, losses: dict[str, Tensor], step: int) -> None:
        rows = torch.stack(list(losses.values()), dim=1).tolist()  # waits for the device once
        for seat, row in zip(self.seats, rows, strict=True):
            seat.trial.step = step
            try:
                take_losses(seat.trial, self.task, dict(zip(losses, row, strict=True)))
            except TrainingDiverged as error:
                seat.failure = error
                if seat.replica.diverged:
                    seat.replica.diverged(error)
