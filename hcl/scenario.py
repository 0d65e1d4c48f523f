"""Scenarios: the outputs that a task uses, in training and in scoring. No other file decides it.

Three scenarios after van de Ven & Tolias (2019), arXiv 1904.07734:

- `task` (CL1): the task is given at test; one head per task; only that head's outputs count.
- `domain` (CL2): the task is not given; all tasks share ONE head.
- `class` (CL3): the task is not given; one head per task; all outputs seen so far compete, and
  head and class must both be right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.config import TrialConfig
from hcl.config.methods import ScenarioName

NO_CHANCE = -1e9  # logit of an output that is none: finite, so that 0 times it is 0


@dataclass(frozen=True)
class OutputLayout:
    """Places of each task's classes among a network's outputs, and the losses over them.

    A training target is the index of the right output unit among all `num_outputs`. With label
    smoothing e the loss is (1 - e) cross-entropy + e (mean of -log p over the outputs active).
    """

    scenario: ScenarioName
    num_tasks: int
    classes_per_task: int | tuple[int, ...]  # of every task, or of each
    label_smoothing: float = 0.0

    score = "accuracy"  # what `sum_score` sums up

    @property
    def num_outputs(self) -> int:
        """Number of the target's output units: one shared head (domain) or one head per task."""
        return max(self.sizes) if self.scenario == "domain" else sum(self.sizes)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of classes of each task."""
        size = self.classes_per_task
        return (size,) * self.num_tasks if isinstance(size, int) else size

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        return (0, *accumulate(self.sizes))

    def head(self, task_id: int) -> slice:
        """Return the output units of one task; the shared head has room for the largest."""
        if self.scenario == "domain":
            return slice(0, max(self.sizes))
        return slice(self._starts[task_id], self._starts[task_id + 1])

    def seen(self, num_learned: int) -> slice:
        """Return the output units of the first `num_learned` tasks."""
        return slice(0, self.head(num_learned - 1).stop)

    def targets(self, y: Tensor, task_id: int) -> Tensor:
        """Turn labels within the task into indices of the right output units."""
        return y + self.head(task_id).start

    def cross_entropy(self, logits: Tensor, targets: Tensor, task_id: int) -> Tensor:
        """Compute the loss of one task's batch: softmax over the outputs active in this scenario.

        task: the task's head; domain: the shared head; class: all heads up to this task.
        """
        active = self.seen(task_id + 1) if self.scenario == "class" else self.head(task_id)
        return self._loss(logits[:, active], targets - active.start)

    def head_cross_entropy(self, logits: Tensor, targets: Tensor, task_id: int) -> Tensor:
        """Compute the loss over the task's own head, in every scenario.

        A hypernetwork's target net sees no other head (the authors' `infer_output_head`).
        """
        head = self.head(task_id)
        return self._loss(logits[:, head], targets - head.start)

    def mixed_cross_entropy(self, logits: Tensor, targets: Tensor, num_learned: int) -> Tensor:
        """Compute the loss of a batch of several tasks; each sample keeps its own task's rule."""
        if self.scenario == "task":
            return self._own_cross_entropy(logits, targets, num_learned)
        return self._loss(logits[:, self.seen(num_learned)], targets)

    def _own_cross_entropy(self, logits: Tensor, targets: Tensor, num_learned: int) -> Tensor:
        """Compute the loss of each sample over its own task's head."""
        size = self.sizes[0]
        if set(self.sizes) == {size}:
            rows = (targets // size)[:, None, None].expand(-1, 1, size)
            return self._loss(self.stack_heads(logits).gather(1, rows)[:, 0], targets % size)
        total = logits.new_zeros(())
        for head in map(self.head, range(num_learned)):
            own = (targets >= head.start) & (targets < head.stop)
            if own.any():
                loss = self._loss(logits[own][:, head], targets[own] - head.start)
                total = total + loss * own.sum()
        return total / len(targets)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def predicted(
        self, logits: Tensor, task_id: int, num_learned: int, scenario: ScenarioName
    ) -> Tensor:
        """Pick the output units of a batch of one task by the rule of `scenario`: int64 (B,).

        Args:
            logits: (B, num_outputs).
            task_id: the task the batch is from; read in the task scenario alone.
            num_learned: tasks learned so far; outputs of later ones never compete.
            scenario: how to score; may differ from the training's (task <-> class).
        """
        units = self.head(task_id) if scenario == "task" else self.seen(num_learned)
        return logits[:, units].argmax(dim=1) + units.start

    def sum_score(
        self, logits: Tensor, y: Tensor, task_id: int, num_learned: int, scenario: ScenarioName
    ) -> Tensor:
        """Count right answers on a batch of one task, with labels y within the task: a scalar."""
        picked = self.predicted(logits, task_id, num_learned, scenario)
        return (picked == self.targets(y, task_id)).sum()

    def replay_views(
        self, logits: Tensor, old_logits: Tensor, num_past: int, owners: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Select the outputs that count on replayed samples, of the network and the earlier one.

        In the task scenario these are the sample's own head where its task is known, else
        (unconditional replay) every past head, each as a row of its own. In the domain scenario
        it is the shared head. In the class scenario they are all heads seen; the earlier network
        does not have the current task's.

        Args:
            logits: (B, num_outputs) of the network being trained.
            old_logits: (B, num_outputs) of the network before the current task.
            num_past: tasks learned before the current one.
            owners: int64 (B,), the task that each sample was generated for; None = not known.

        Returns:
            (R, C) and (R, C'), C' <= C.
        """
        if self.scenario == "class":
            return logits[:, self.seen(num_past + 1)], old_logits[:, self.seen(num_past)]
        if self.scenario == "domain":
            return logits, old_logits
        return self._own_heads(logits, num_past, owners), self._own_heads(
            old_logits, num_past, owners
        )

    def _own_heads(self, logits: Tensor, num_past: int, owners: Tensor | None) -> Tensor:
        heads = self.stack_heads(logits)
        if owners is None:
            return heads[:, :num_past].flatten(0, 1)
        rows = owners[:, None, None].expand(-1, 1, heads.shape[2])
        return heads.gather(1, rows)[:, 0]

    def stack_heads(self, logits: Tensor) -> Tensor:
        """Put the tasks' outputs side by side: (B, num_outputs) -> (B, num_tasks, C).

        C is the largest task's number of classes; a smaller one's further outputs have no chance.
        """
        most = max(self.sizes)
        if min(self.sizes) == most:
            return logits.unflatten(1, (self.num_tasks, most))
        return torch.stack([self.own_head(logits, i) for i in range(self.num_tasks)], 1)

    def own_head(self, logits: Tensor, task_id: int) -> Tensor:
        """Take a task's outputs, with further ones up to the largest task's: (B, C)."""
        return self.fill_up(logits[:, self.head(task_id)])

    def fill_up(self, own: Tensor) -> Tensor:
        """Add outputs without a chance to a task's own, up to the largest task's: (B, C)."""
        lacking = max(self.sizes) - own.shape[1]
        return F.pad(own, (0, lacking), value=NO_CHANCE) if lacking else own


@dataclass(frozen=True)
class RegressionLayout(OutputLayout):
    """Layout of a regression: shared outputs, targets that are numbers, squared errors."""

    score = "mse"

    @property
    def num_outputs(self) -> int:
        return self.sizes[0]

    def head(self, task_id: int) -> slice:
        return slice(0, self.sizes[0])

    def targets(self, y: Tensor, task_id: int) -> Tensor:
        return y

    def cross_entropy(self, logits: Tensor, targets: Tensor, task_id: int) -> Tensor:
        """Compute the mean squared error."""
        return F.mse_loss(logits, targets)

    def head_cross_entropy(self, logits: Tensor, targets: Tensor, task_id: int) -> Tensor:
        """Compute the mean squared error."""
        return F.mse_loss(logits, targets)

    def mixed_cross_entropy(self, logits: Tensor, targets: Tensor, num_learned: int) -> Tensor:
        """Compute the mean squared error."""
        return F.mse_loss(logits, targets)

    def sum_score(
        self, logits: Tensor, y: Tensor, task_id: int, num_learned: int, scenario: ScenarioName
    ) -> Tensor:
        """Sum the squared errors on a batch; a sample's is the mean over its outputs."""
        return (logits - y).square().mean(dim=1).sum()


def make_layout(
    config: TrialConfig, num_tasks: int, classes_per_task: int | Sequence[int]
) -> OutputLayout:
    """Make the layout of a trial's benchmark and scenario."""
    if not isinstance(classes_per_task, int):
        classes_per_task = tuple(classes_per_task)
    kind = RegressionLayout if config.benchmark.info.is_regression else OutputLayout
    return kind(config.scenario, num_tasks, classes_per_task, config.train.label_smoothing)
