"""HNET and HNET+ENT: a task-conditioned hypernetwork makes the weights of the target network."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hcl.benchmarks.arrays import TaskSplits
from hcl.config import ConfigError
from hcl.config.methods import HnetConfig
from hcl.hypernets import GroupedTaskHypernet, TaskHypernet
from hcl.inference import screening
from hcl.inference.entropy import lowest_entropy, pick
from hcl.kernels import int8_mlp
from hcl.kernels.int8_mlp import EightBitMlps
from hcl.methods.base import Method, Prediction, Setup
from hcl.networks.generated import Generated, Weights, output_names
from hcl.networks.optim import make_adam, set_rate
from hcl.networks.target import TargetNetwork

# Rows (networks x inputs) that run at once when a task is inferred; logits of those that do so in
# 8 bits alone, one network after the other. Bounds memory, not results.
INFERENCE_ROWS, SCREENED_LOGITS = 20_000, 2_000_000


class Hnet(Method):
    """Continual learning with hypernetworks (von Oswald et al., 2020), eq. 1-2.

    The loss on a task's own head, plus beta times the mean squared change of the weights generated
    for each past task. Not given, the task is that of lowest predictive entropy (HNET+ENT).
    """

    config: HnetConfig

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        network, groups = setup.build_network(), self.config.groups()
        num_outputs = setup.layout.num_outputs
        patterns = tuple(pattern for pattern, _ in groups)
        self.generated = Generated(network, self.config.generate, num_outputs, patterns)
        if setup.weights is not None and not self.generated.shared:
            raise ConfigError(
                "target/weights: nothing of them would be used, for the hypernetwork generates all"
                " weights; set method/generate to a part or lora(RANK), or leave them out"
            )
        self.output_names = output_names(network, num_outputs)
        self.target = TargetNetwork(network, self.generated)
        self.target.is_differentiated_twice = self.config.lookahead == "full"
        self.task_hypernet = self._make_hypernets([size for _, size in groups])
        # The target sees these very parameters, wherever they are moved.
        self.shared = nn.ParameterList(
            nn.Parameter(value, requires_grad=False) for value in self.target.shared.values()
        )
        self.target.shared = dict(zip(self.target.shared, self.shared, strict=True))
        self.buffers_of: dict[int, Weights] = {}  # running statistics, by `_slot`
        self._cached: tuple[range, Tensor] | None = None
        self._rough: EightBitMlps | None = None  # the same networks, nearly
        self._rough_errors: Tensor | None = None
        self._rough_reach = -1.0  # the largest input they are known for
        self.shared_optimizer: torch.optim.Adam | None = None

    def _make_hypernets(self, chunk_sizes: list[int]) -> TaskHypernet | GroupedTaskHypernet:
        """One for each group of parameters; those of no group have the setting's chunk size."""
        trial, sizes = self.setup.config, [*chunk_sizes, self.config.chunk_size]
        made = [
            TaskHypernet(
                num_weights,
                self.layout.num_tasks,
                replace(self.config, chunk_size=size),
                trial.train,
                trial.seed,
            )
            for num_weights, size in zip(self.generated.group_sizes, sizes, strict=False)
        ]
        return made[0] if len(made) == 1 else GroupedTaskHypernet(made)

    def start_task(self, task: TaskSplits) -> None:
        super().start_task(task)
        self.task_hypernet.start_task(self.task_id, *self._head_mask())
        self._make_shared_optimizer()
        fresh = self.target.initial_buffers.items()
        if self._slot(self.task_id) not in self.buffers_of:
            own = {k: b.clone().to(self.device) for k, b in fresh}
            self.buffers_of[self._slot(self.task_id)] = own

    def statistics(self, task_id: int) -> Weights:
        """Running statistics etc. that the task's network runs with."""
        return self.buffers_of[self._slot(task_id)]

    def _slot(self, task_id: int) -> int:
        return 0 if self.setup.config.target.batch_norm == "shared" else task_id

    def _head_mask(self) -> tuple[Tensor | None, int | None]:
        """Weights that count for each past task: all but the rows of other tasks' heads."""
        if not self.config.mask_heads or self.layout.scenario == "domain" or self.task_id < 1:
            return None, None  # in CL2 the one head is everybody's; the first task has no past
        keep = torch.ones(self.task_id, self.target.num_weights, dtype=torch.bool)
        spans = [self.generated.positions(name) for name in self.output_names]
        for span in spans:  # weight and bias of the output layer
            part = slice(span.start, span.stop)
            per_unit = keep[:, part].view(self.task_id, self.layout.num_outputs, -1)
            per_unit[:] = False
            for past in range(self.task_id):
                per_unit[past, self.layout.head(past)] = True
        return keep, min(span.start for span in spans)

    def _make_shared_optimizer(self) -> None:
        """Of what all tasks share: it learns with the first task, if ever."""
        learns = self.config.shared == "once" and self.task_id == 0
        for parameter in self.shared:
            parameter.requires_grad_(learns)
        self.shared_optimizer = None
        if learns and len(self.shared):
            self.shared_optimizer = make_adam(self.shared, self.setup.config.train)

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        self._forget_weights()  # a prediction between two steps may have made some
        logits = self.target(self.task_hypernet.current(), x, self.statistics(self.task_id))
        loss = self.layout.head_cross_entropy(logits, y, self.task_id)
        learning = [] if self.shared_optimizer is None else list(self.shared)
        penalty, grads = self.task_hypernet.update(loss, learning)
        if self.shared_optimizer is not None:
            for parameter, grad in zip(learning, grads, strict=True):
                parameter.grad = grad
            self.shared_optimizer.step()
        losses = {"task": loss.detach()}
        return losses if penalty is None else losses | {"regularizer": penalty}

    def end_task(self, task: TaskSplits) -> None:
        if self.setup.shared is not None:
            self.setup.shared.give(self.task_id, self.classifier_state())

    @property
    def one_hypernet(self) -> TaskHypernet:
        """The hypernetwork, where groups of parameters do not have their own."""
        assert isinstance(self.task_hypernet, TaskHypernet)
        return self.task_hypernet

    def classifier_state(self) -> dict[str, Any]:
        """What the next task and the predictions need of the classifier once a task is over."""
        hypernet = self.one_hypernet
        return {
            "task_hypernet": hypernet.state_dict(),
            "task_subsets": hypernet.task_subsets.get_state(),
            "buffers": self.statistics(self.task_id),
        }

    def load_classifier_state(self, state: dict[str, Any]) -> None:
        """Put back what `classifier_state` returned."""
        self._forget_weights()
        self.one_hypernet.load_state_dict(state["task_hypernet"])
        self.one_hypernet.task_subsets.set_state(state["task_subsets"])
        moved = {k: b.to(self.device) for k, b in state["buffers"].items()}
        self.buffers_of[self._slot(self.task_id)] = moved

    def train(self, mode: bool = True) -> "Hnet":
        super().train(mode)
        self.target.train(mode)
        self._forget_weights()  # those for evaluation are stale once training goes on
        return self

    def _forget_weights(self) -> None:
        self._cached = self._rough = self._rough_errors = None
        self._rough_reach = -1.0

    def weights_for(self, task_ids: range) -> Tensor:
        """(T, num_weights) of the asked tasks; in evaluation mode generated once."""
        known, weights = self._cached or (range(0), None)
        if weights is None or task_ids.start not in known or task_ids[-1] not in known:
            self._forget_weights()
            known, weights = self._cached = (task_ids, self.task_hypernet(task_ids))
        return weights[task_ids.start - known.start : task_ids.stop - known.start]

    def predict(self, x: Tensor, task_id: int | None) -> Prediction:
        if task_id is not None:
            weights = self.weights_for(range(task_id, task_id + 1))[0]
            return Prediction(self.target(weights, x, self.statistics(task_id)))
        head = self.layout.head(0)
        rows = max(1, SCREENED_LOGITS // (self.num_learned * (head.stop - head.start)))
        parts = [self._predict_inferred(part) for part in x.split(rows)]
        logits, task_ids = zip(*parts, strict=True)
        return Prediction(torch.cat(logits), torch.cat(task_ids))

    def _predict_inferred(self, x: Tensor) -> Prediction:
        """Only the inferred task's head competes."""
        task_ids, chosen = self.infer(x)
        if self.layout.scenario == "domain":
            return Prediction(chosen, task_ids)
        logits = chosen.new_full((len(x), self.layout.num_tasks, chosen.shape[1]), -torch.inf)
        logits[torch.arange(len(x), device=x.device), task_ids] = chosen
        return Prediction(logits.flatten(1), task_ids)

    def infer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """int64 (B,), the task each input is taken to be from, and (B, classes), its answer."""
        rough = self._rough_heads(x) if self._is_screened(x) else None
        if rough is not None and self._rough_errors is not None:
            return screening.lowest_entropy(rough, partial(self.answer, x), self._rough_errors)
        rows = max(1, INFERENCE_ROWS // self.num_learned)
        task_ids, chosen = zip(*map(self._infer_exactly, x.split(rows)), strict=True)
        return torch.cat(task_ids), torch.cat(chosen)

    def _infer_exactly(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`infer` from all networks' logits."""
        tasks = range(self.num_learned)
        weights, buffers = self.weights_for(tasks), [self.statistics(i) for i in tasks]
        heads = self.per_head(self.target.run_many(weights, x, buffers))
        task_ids = lowest_entropy(heads)
        return task_ids, pick(heads, task_ids)

    def _is_screened(self, x: Tensor) -> bool:
        """Whether 8 bits first are faster; see screening for why the answer is the same."""
        return (
            self.target.layer_sizes is not None
            and (x.device.type, x.dtype) == ("cpu", torch.float32)
            and len(x) >= screening.MIN_INPUTS
            and self.num_learned >= screening.MIN_TASKS
            and int8_mlp.is_fast()
        )

    def _rough_heads(self, x: Tensor) -> Tensor | None:
        """`per_head` of all tasks, nearly; None if that cannot be."""
        if self._rough is None:
            assert self.target.layer_sizes is not None
            tasks = range(self.num_learned)
            heads = [self.layout.head(task_id) for task_id in tasks]
            self._rough = EightBitMlps(self.weights_for(tasks), self.target.layer_sizes, heads)
        logits = self._rough(x)
        reach = float(x.abs().amax())
        if logits is not None and reach > self._rough_reach:
            rows = torch.arange(len(x), device=x.device)[:: len(x) // screening.MIN_INPUTS]
            errors = screening.largest_errors(logits, partial(self.answer, x), rows)
            before = self._rough_errors
            self._rough_errors = errors if before is None else torch.maximum(before, errors)
            self._rough_reach = reach
        return logits

    def answer(self, x: Tensor, task_id: int, rows: Tensor) -> Tensor:
        """(n, classes): a task's own head on some of the inputs, int64 (n,)."""
        weights = self.weights_for(range(self.num_learned))[task_id]
        head, buffers = self.layout.head(task_id), self.statistics(task_id)
        return self.target.run_part(weights, x.index_select(0, rows), buffers, head)

    def per_head(self, logits: Tensor) -> Tensor:
        """(T, B, num_outputs) -> (T, B, classes): each task's network on its own head."""
        return torch.stack([logits[t][:, self.layout.head(t)] for t in range(len(logits))])

    def set_learning_rate(self, rate: float) -> None:
        self.task_hypernet.set_learning_rate(rate)
        if self.shared_optimizer is not None:
            set_rate(self.shared_optimizer, rate)

    def num_stored(self) -> int:
        return self.task_hypernet.num_stored() + sum(p.numel() for p in self.shared)

    def num_target_weights(self) -> int:
        return self.generated.num_parameters

    def get_extra_state(self) -> dict[str, Any]:
        return {
            **super().get_extra_state(),
            "buffers_of": self.buffers_of,
            "task_hypernet": self.task_hypernet.training_state(),
            "shared_optimizer": self.shared_optimizer and self.shared_optimizer.state_dict(),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self._forget_weights()
        self.buffers_of = {
            task_id: {k: b.to(self.device) for k, b in buffers.items()}
            for task_id, buffers in state["buffers_of"].items()
        }
        self.task_hypernet.load_training_state(state["task_hypernet"], *self._head_mask())
        self._make_shared_optimizer()
        if self.shared_optimizer is not None:
            self.shared_optimizer.load_state_dict(state["shared_optimizer"])
