"""Samples of each training step: a function of (seed, task, step), with no state to restore."""

import torch
from torch import Tensor

from hcl import seeding
from hcl.benchmarks.arrays import TaskSplits
from hcl.benchmarks.augment import crop_and_flip
from hcl.scenario import OutputLayout
from hcl.training.trial_state import TrialState


class Batches:
    """Batches of one task: shuffled epochs; an epoch's incomplete last batch is left out.

    Args:
        task: where the samples come from.
        layout: turns labels into output units.
        batch_size: samples per step; at most the task's number of samples.
        seed: the trial's.
    """

    def __init__(self, task: TaskSplits, layout: OutputLayout, batch_size: int, seed: int) -> None:
        self.data, self.task_id, self.layout, self.seed = task.train, task.task_id, layout, seed
        self.batch_size = min(batch_size, len(task.train))
        self.steps_per_epoch = len(task.train) // self.batch_size
        self._epoch = -1

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Return x (B, *input_shape) in [0, 1] and y (B,), index of the right output unit."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            draws = seeding.generator(self.seed, "batches", self.task_id, epoch)
            order = torch.randperm(len(self.data), generator=draws)
            self._order, self._epoch = order.to(self.data.x.device), epoch
        first = position * self.batch_size
        x, y = self.data.batch(self._order[first : first + self.batch_size])
        return x, self.layout.targets(y, self.task_id)


class MixedBatches:
    """Batches drawn uniformly, with replacement, from all samples of several tasks."""

    def __init__(
        self, tasks: tuple[TaskSplits, ...], layout: OutputLayout, batch_size: int, seed: int
    ) -> None:
        self.tasks, self.layout, self.batch_size, self.seed = tasks, layout, batch_size, seed
        sizes = torch.tensor([len(task.train) for task in tasks])
        self.ends = sizes.cumsum(0)
        self.starts = self.ends - sizes

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Return x and y as `Batches.at` does; samples of one task stand together."""
        draws = seeding.generator(self.seed, "mixed", len(self.tasks), step)
        drawn = torch.randint(int(self.ends[-1]), (self.batch_size,), generator=draws)
        owner = torch.searchsorted(self.ends, drawn, right=True)
        parts = []
        for i in owner.unique().tolist():
            task = self.tasks[i]
            index = drawn[owner == i] - self.starts[i]
            x, y = task.train.batch(index.to(task.train.x.device))
            parts.append((x, self.layout.targets(y, task.task_id)))
        xs, ys = zip(*parts, strict=True)
        return torch.cat(xs), torch.cat(ys)


class AugmentedBatches:
    """Batches of another kind, cropped and flipped; each step draws its own."""

    def __init__(self, batches: Batches | MixedBatches, seed: int, task_id: int) -> None:
        self.batches, self.seed, self.task_id = batches, seed, task_id

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Return x and y as `Batches.at` does."""
        x, y = self.batches.at(step)
        draws = seeding.generator(self.seed, "augment", self.task_id, step)
        return crop_and_flip(x, draws), y


AnyBatches = Batches | MixedBatches | AugmentedBatches


def make_batches(trial: TrialState, task: TaskSplits) -> AnyBatches:
    """Make the batches of a task; `at(step)` gives each."""
    layout, train, seed = trial.method.layout, trial.config.train, trial.config.seed
    batches: Batches | MixedBatches
    if trial.method.trains_on_all_tasks:
        tasks = trial.benchmark.tasks[: task.task_id + 1]
        batches = MixedBatches(tasks, layout, train.batch_size, seed)
    else:
        batches = Batches(task, layout, train.batch_size, seed)
    return AugmentedBatches(batches, seed, task.task_id) if train.augment else batches
