"""Scenarios: the outputs that a task uses, in training and in scoring. No other file decides it.

Three scenarios after van de Ven & Tolias (2019), arXiv 1904.07734:

- `task` (CL1): the task is given at test; one head per task; only that head's outputs count.
- `domain` (CL2): the task is not given; all tasks share ONE head.
- `class` (CL3): the task is not given; one head per task; all outputs seen so far compete, and
  head and class must both be right.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from hcl.config import TrialConfig
from hcl.config.methods import ScenarioName


@dataclass(frozen=True)
class OutputLayout:
    """Places of each task's classes among a network's outputs, and the losses over them.

    A training target is the index of the right output unit among all `num_outputs`. With label
    smoothing e the loss is (1 - e) cross-entropy + e (mean of -log p over the outputs active).
    """

    scenario: ScenarioName
    num_tasks: int
    classes_per_task: int
    label_smoothing: float = 0.0

    score = "accuracy"  # what `sum_score` sums up

    @property
    def num_outputs(self) -> int:
        """Number of the target's output units: one shared head (domain) or one head per task."""
        return self.classes_per_task * (1 if self.scenario == "domain" else self.num_tasks)

    def head(self, task_id: int) -> slice:
        """Return the output units of one task."""
        start = 0 if self.scenario == "domain" else task_id * self.classes_per_task
        return slice(start, start + self.classes_per_task)

    def seen(self, num_learned: int) -> slice:
        """Return the output units of the first `num_learned` tasks."""
        return slice(0, self.head(num_learned - 1).stop)

    def targets(self, y: Tensor, task_id: int) -> Tensor:
        """Turn labels within the task into indices of the right output units."""
        return y + self.head(task_id).start

    def cross_entropy(self, logits: Tensor, targets: Tensor, task_id: int) -> Tensor:
        """Training loss of one task's batch: softmax over the outputs active in this scenario.

        task: the task's head; domain: the shared head; class: all heads up to this task.
        """
        active = self.seen(task_id + 1) if self.scenario == "class" else self.head(task_id)
        return self._loss(logits[:, active], targets - active.start)

    def head_cross_entropy(self, logits: Tensor, targets: Tensor, task_id: int) -> Tensor:
        """Loss over the task's own head, in every scenario.

        A hypernetwork's target net sees no other head (the authors' `infer_output_head`).
        """
        head = self.head(task_id)
        return self._loss(logits[:, head], targets - head.start)

    def mixed_cross_entropy(self, logits: Tensor, targets: Tensor, num_learned: int) -> Tensor:
        """Loss of a batch drawn from several tasks; each sample keeps its own task's rule."""
        if self.scenario == "task":
            heads = logits.unflatten(1, (self.num_tasks, self.classes_per_task))
            rows = targets // self.classes_per_task
            own = heads.gather(1, rows[:, None, None].expand(-1, 1, self.classes_per_task))
            return self._loss(own[:, 0], targets % self.classes_per_task)
        return self._loss(logits[:, self.seen(num_learned)], targets)

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
        heads = logits.unflatten(1, (self.num_tasks, self.classes_per_task))
        if owners is None:
            return heads[:, :num_past].flatten(0, 1)
        rows = owners[:, None, None].expand(-1, 1, self.classes_per_task)
        return heads.gather(1, rows)[:, 0]


@dataclass(frozen=True)
class RegressionLayout(OutputLayout):
    """Layout of a regression: shared outputs, targets that are numbers, squared errors."""

    score = "mse"

    @property
    def num_outputs(self) -> int:
        return self.classes_per_task

    def head(self, task_id: int) -> slice:
        return slice(0, self.classes_per_task)

    def targets(self, y: Tensor, task_id: int) -> Tensor:
        return y

    def cross_entropy(self, logits: Tensor, targets: Tensor, task_id: int) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(logits, targets)

    def head_cross_entropy(self, logits: Tensor, targets: Tensor, task_id: int) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(logits, targets)

    def mixed_cross_entropy(self, logits: Tensor, targets: Tensor, num_learned: int) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(logits, targets)

    def sum_score(
        self, logits: Tensor, y: Tensor, task_id: int, num_learned: int, scenario: ScenarioName
    ) -> Tensor:
        """Sum the squared errors on a batch."""
        return (logits - y).square().sum()


def make_layout(config: TrialConfig, num_tasks: int, classes_per_task: int) -> OutputLayout:
    """Make the layout of a trial's benchmark and scenario."""
    kind = RegressionLayout if config.benchmark.info.is_regression else OutputLayout
    return kind(config.scenario, num_tasks, classes_per_task, config.train.label_smoothing)
