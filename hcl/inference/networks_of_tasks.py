"""The networks generated for all tasks, kept while they are evaluated, and the choice among them.

Generating the weights of all tasks costs more than running some inputs through them, so a whole
evaluation uses the same ones. Nothing here learns.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from hcl.inference import screening
from hcl.inference.entropy import lowest_entropy, pick
from hcl.inference.rules import Evidence, Rule
from hcl.kernels import int8_mlp
from hcl.kernels.flat_mlp import Sizes
from hcl.kernels.int8_mlp import EightBitMlps
from hcl.scenario import OutputLayout

# Networks x inputs that run at once when a task is inferred, exactly and in 8 bits. The 8-bit
# networks run one after the other, so there only their logits (classes x as many) take memory.
# Both bound memory, not results.
INFERENCE_ROWS, SCREENED_LOGITS = 20_000, 2_000_000

Buffers = dict[str, Tensor]


class Target(Protocol):
    """The architecture that all tasks share: see hcl.networks.target.TargetNetwork."""

    layer_sizes: Sizes | None

    def __call__(self, flat: Tensor, x: Tensor, buffers: Buffers | None = None) -> Tensor:
        """Run one network."""

    def run_part(self, flat: Tensor, x: Tensor, buffers: Buffers, outputs: slice) -> Tensor:
        """Compute some outputs of one network."""

    def run_many(
        self, flat: Tensor, x: Tensor, buffers: Sequence[Buffers] | None = None
    ) -> Tensor:
        """Run the same inputs through several networks."""


class NetworksOfTasks:
    """One network per task: generated once, run for a given task, or chosen among (HNET+ENT).

    Weights are kept until `forget`, which the owner calls whenever they may have changed.

    Args:
        generate: makes (T, num_weights), the weights of a range of tasks.
        target: runs them.
        layout: says which outputs are a task's head.
        statistics: gives the running statistics of a task's network.
    """

    def __init__(
        self,
        generate: Callable[[range], Tensor],
        target: Target,
        layout: OutputLayout,
        statistics: Callable[[int], Buffers],
    ) -> None:
        self._generate, self._target = generate, target
        self._layout, self._statistics = layout, statistics
        self.forget()

    def forget(self) -> None:
        """Drop everything that was made from the weights."""
        self._kept: tuple[range, Tensor] | None = None
        self._rough: RoughNetworks | None = None

    def weights(self, task_ids: range) -> Tensor:
        """Return the weights of a range of tasks, (T, num_weights), generated if not kept."""
        known, weights = self._kept or (range(0), None)
        if weights is None or task_ids.start not in known or task_ids[-1] not in known:
            self.forget()
            known, weights = self._kept = (task_ids, self._generate(task_ids))
        return weights[task_ids.start - known.start : task_ids.stop - known.start]

    def run(self, x: Tensor, task_id: int) -> Tensor:
        """Run one task's network: (B, ...) -> (B, num_outputs), all heads."""
        weights = self.weights(range(task_id, task_id + 1))[0]
        return self._target(weights, x, self._statistics(task_id))

    def answers(self, x: Tensor, task_ids: Tensor, num_tasks: int) -> Tensor:
        """Run each input through the network of its own task.

        Args:
            x: (B, ...).
            task_ids: int64 (B,), below `num_tasks`.
            num_tasks: tasks learned so far; their weights are generated at once.

        Returns:
            (B, classes), the outputs of that task's head.
        """
        return screening.answers(task_ids, partial(self._own_head, x, self._first(num_tasks)))

    def infer(self, x: Tensor, num_tasks: int) -> tuple[Tensor, Tensor]:
        """Choose for each input the task whose network has the lowest predictive entropy.

        Many inputs on a CPU are screened in 8 bits first, a heuristic that has always given the
        same task but is not proved to: see hcl.inference.screening.

        Args:
            x: (B, ...).
            num_tasks: tasks learned so far, the ones to choose from.

        Returns:
            int64 (B,), the tasks, and (B, classes), the answers of their networks' own heads.
        """
        weights, head = self._first(num_tasks), self._layout.head(0)
        rows = max(1, SCREENED_LOGITS // (num_tasks * (head.stop - head.start)))
        task_ids, chosen = zip(
            *(self._infer(part, weights) for part in x.split(rows)), strict=True
        )
        return torch.cat(task_ids), torch.cat(chosen)

    def infer_by(self, rule: Rule, x: Tensor, num_tasks: int) -> tuple[Tensor, Tensor]:
        """Choose for each input the task that a rule scores highest, else as `infer`."""
        return self._infer_in_parts(x, self._first(num_tasks), rule)

    def _first(self, num_tasks: int) -> Tensor:
        return self.weights(range(num_tasks))

    def _infer(self, x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        exact = partial(self._own_head, x, weights)
        rough = self._rough_logits(x, weights, exact)
        if rough is not None:
            return screening.lowest_entropy(rough[0], exact, rough[1])
        return self._infer_in_parts(x, weights, None)

    def _infer_in_parts(
        self, x: Tensor, weights: Tensor, rule: Rule | None
    ) -> tuple[Tensor, Tensor]:
        rows = max(1, INFERENCE_ROWS // len(weights))
        parts = [self._infer_exactly(part, weights, rule) for part in x.split(rows)]
        task_ids, chosen = zip(*parts, strict=True)
        return torch.cat(task_ids), torch.cat(chosen)

    def _infer_exactly(
        self, x: Tensor, weights: Tensor, rule: Rule | None
    ) -> tuple[Tensor, Tensor]:
        tasks = range(len(weights))
        logits = self._target.run_many(weights, x, [self._statistics(i) for i in tasks])
        heads = torch.stack([self._layout.own_head(logits[i], i) for i in tasks])
        if rule is None:
            found = lowest_entropy(heads)
        else:
            found = rule(Evidence(x, weights, heads)).argmax(dim=0)
        return found, pick(heads, found)

    def _own_head(self, x: Tensor, weights: Tensor, task_id: int, rows: Tensor) -> Tensor:
        """Run some of the inputs, int64 (n,), through a task's network: (n, classes)."""
        head, buffers = self._layout.head(task_id), self._statistics(task_id)
        own = self._target.run_part(weights[task_id], x.index_select(0, rows), buffers, head)
        return self._layout.fill_up(own)

    def _rough_logits(
        self, x: Tensor, weights: Tensor, exact: screening.Exact
    ) -> tuple[Tensor, Tensor] | None:
        """Run the 8-bit networks; None where they cannot run or would save no time."""
        if not self.is_screened(x, len(weights)):
            return None
        if self._rough is None:
            assert self._target.layer_sizes is not None
            heads = [self._layout.head(task_id) for task_id in range(len(weights))]
            mlps = EightBitMlps(weights, self._target.layer_sizes, heads)
            self._rough = RoughNetworks(mlps)
        return self._rough.logits_and_errors(x, exact)

    def is_screened(self, x: Tensor, num_tasks: int) -> bool:
        """Return whether `infer` looks at 8-bit networks first: where that is faster."""
        return (
            self._target.layer_sizes is not None
            and len(set(self._layout.sizes)) == 1
            and (x.device.type, x.dtype) == ("cpu", torch.float32)
            and len(x) >= screening.MIN_INPUTS
            and num_tasks >= screening.MIN_TASKS
            and int8_mlp.is_fast()
        )


class RoughNetworks:
    """8-bit networks together with the largest errors of theirs that were seen.

    Args:
        mlps: the networks.
    """

    def __init__(self, mlps: EightBitMlps) -> None:
        self._mlps = mlps
        self._reach = -1.0  # the largest input that errors were measured for
        self.errors: Tensor | None = None  # (T,)

    def logits_and_errors(self, x: Tensor, exact: screening.Exact) -> tuple[Tensor, Tensor] | None:
        """Run the networks, and measure errors on a sample where inputs are larger than before.

        Args:
            x: (B, ...), at least `screening.MIN_INPUTS`.
            exact: see `screening.Exact`.

        Returns:
            (T, B, classes), NaN where not known, and (T,); None if 8 bits cannot hold the inputs.
        """
        logits = self._mlps(x)
        if logits is None:
            return None
        reach = float(x.abs().amax())
        if self.errors is None or reach > self._reach:
            rows = torch.arange(len(x), device=x.device)[:: len(x) // screening.MIN_INPUTS]
            errors = screening.largest_errors(logits, exact, rows)
            self.errors = errors if self.errors is None else torch.maximum(self.errors, errors)
            self._reach = reach
        return logits, self.errors


def place_in_heads(answers: Tensor, task_ids: Tensor, layout: OutputLayout) -> Tensor:
    """Spread answers of single heads over all outputs; other tasks' heads get -inf.

    Args:
        answers: (B, classes), each of the head of its input's task.
        task_ids: int64 (B,).
        layout: the outputs.

    Returns:
        (B, num_outputs)
    """
    if layout.scenario == "domain":  # all tasks share the one head
        return answers
    shape = (len(answers), layout.num_tasks, answers.shape[1])
    logits = answers.new_full(shape, -torch.inf)
    logits[torch.arange(len(answers), device=answers.device), task_ids] = answers
    if len(set(layout.sizes)) == 1:
        return logits.flatten(1)
    return torch.cat([logits[:, i, :size] for i, size in enumerate(layout.sizes)], dim=1)
