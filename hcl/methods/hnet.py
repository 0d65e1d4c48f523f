"""HNET and HNET+ENT: a task-conditioned hypernetwork makes the weights of the target network."""

from typing import Any

import torch
from torch import Tensor, nn

from hcl import seeding
from hcl.benchmarks.arrays import TaskSplits
from hcl.hypernets import CandidateAdam, Hypernet, OutputRegularizer
from hcl.hypernets.hypernet import Theta
from hcl.method_configs import HnetConfig
from hcl.methods.base import Method, Prediction, Setup
from hcl.target import TargetNetwork, Weights
from hcl.task_inference import lowest_entropy, pick

# Rows (networks x inputs) that run at once when a task is inferred: bounds memory, not results.
INFERENCE_ROWS = 20_000


class Hnet(Method):
    """Continual learning with hypernetworks (von Oswald et al., 2020), eq. 1-2.

    The loss on a task's own head, plus beta times the mean squared change of the weights generated
    for each past task. Every task starts with new Adam moments; the task's embedding has an Adam
    of its own and is frozen afterwards. Not given, the task is that of lowest predictive entropy
    (HNET+ENT).
    """

    config: HnetConfig

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        config = setup.config.method
        assert isinstance(config, HnetConfig)
        self.target = TargetNetwork(setup.build_network())
        self.hypernet = Hypernet(
            self.target.num_weights,
            config.embedding_size,
            config.chunk_embedding_size,
            config.chunk_size,
            config.hidden_sizes,
            config.activation,
        )
        self.embeddings = nn.ParameterList(
            torch.randn(config.embedding_size) for _ in range(setup.layout.num_tasks)
        )
        self.buffers_of: dict[int, Weights] = {}  # running statistics, one set per task
        self.regularizer: OutputRegularizer | None = None
        self.task_subsets = seeding.generator(setup.config.seed, "reg_tasks")
        self._cached: tuple[tuple[int, ...], Tensor] | None = None

    def start_task(self, task: TaskSplits) -> None:
        super().start_task(task)
        self._make_optimizers()
        self.regularizer = self._make_regularizer()
        fresh = self.target.initial_buffers.items()
        self.buffers_of[self.task_id] = {k: b.clone().to(self.device) for k, b in fresh}

    def _make_optimizers(self) -> None:
        train = self.setup.config.train
        betas = (train.adam_beta1, train.adam_beta2)
        self.optimizer = CandidateAdam(self.hypernet.theta(), train.lr, betas)
        self.embedding_optimizer = CandidateAdam([self.embeddings[self.task_id]], train.lr, betas)

    def _make_regularizer(self) -> OutputRegularizer | None:
        if self.task_id == 0 or self.config.beta == 0:
            return None
        past = torch.stack([e.detach() for e in list(self.embeddings)[: self.task_id]])
        return OutputRegularizer(self.hypernet, past, *self._head_mask())

    def _head_mask(self) -> tuple[Tensor | None, int | None]:
        """Weights that count for each past task: all but the rows of other tasks' heads."""
        if not self.config.mask_heads or self.layout.scenario == "domain":
            return None, None  # in CL2 the one head is everybody's
        num_outputs = self.layout.num_outputs
        rows = [n for n, s in self.target.shapes.items() if len(s) and s[0] == num_outputs][-2:]
        keep = torch.ones(self.task_id, self.target.num_weights, dtype=torch.bool)
        for name in rows:  # weight and bias of the output layer
            span = self.target.positions(name)
            per_unit = keep[:, span.start : span.stop].view(self.task_id, num_outputs, -1)
            per_unit[:] = False
            for past in range(self.task_id):
                per_unit[past, self.layout.head(past)] = True
        return keep, self.target.positions(rows[0]).start

    def train_step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        embedding, theta = self.embeddings[self.task_id], self.hypernet.theta()
        weights = self.hypernet(embedding[None])[0]
        logits = self.target(weights, x, self.buffers_of[self.task_id])
        task_loss = self.layout.head_cross_entropy(logits, y, self.task_id)
        full = self.regularizer is not None and self.config.lookahead == "full"
        *grads, grad_embedding = torch.autograd.grad(
            task_loss, [*theta, embedding], create_graph=full
        )
        losses = {"task": task_loss.detach()}
        if self.regularizer is not None:
            penalty, extra = self._penalty_and_grads(self.regularizer, theta, embedding, grads)
            grads = list(torch._foreach_add([g.detach() for g in grads], extra[:-1]))
            grad_embedding = grad_embedding.detach() + extra[-1]
            losses["regularizer"] = self.config.beta * penalty.detach()
        self.optimizer.step(grads)
        self.embedding_optimizer.step([grad_embedding])
        return losses

    def _penalty_and_grads(
        self, regularizer: OutputRegularizer, theta: Theta, embedding: Tensor, grads: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The penalty, and beta times its gradient for theta and the current embedding.

        The embedding's is 0 unless the lookahead is differentiated through.
        """
        if self.config.lookahead == "full":
            at = [
                p + d
                for p, d in zip(theta, self.optimizer.differentiable_candidate(grads), strict=True)
            ]
            inputs = [*theta, embedding]
        else:
            at = [p.detach() for p in theta]
            if self.config.lookahead == "detached":
                at = list(torch._foreach_add(at, self.optimizer.candidate(grads)))
            inputs = at = [p.requires_grad_() for p in at]
        penalty = regularizer(at, self._draw_past_tasks())
        found = torch.autograd.grad(self.config.beta * penalty, inputs, allow_unused=True)
        extra = [
            torch.zeros_like(p) if g is None else g for p, g in zip(inputs, found, strict=True)
        ]
        if self.config.lookahead != "full":
            extra.append(torch.zeros_like(embedding))
        return penalty, extra

    def _draw_past_tasks(self) -> Tensor | None:
        """A random subset of past tasks, or None for all (PAPER.md, section 3)."""
        if self.config.reg_tasks == 0 or self.config.reg_tasks >= self.task_id:
            return None
        order = torch.randperm(self.task_id, generator=self.task_subsets)
        return order[: self.config.reg_tasks].to(self.device)

    def train(self, mode: bool = True) -> "Hnet":
        super().train(mode)
        self.target.train(mode)
        self._cached = None  # weights generated for evaluation are stale once training goes on
        return self

    def weights_for(self, task_ids: tuple[int, ...]) -> Tensor:
        """(T, num_weights) of the asked tasks; in evaluation mode generated once."""
        if self._cached is None or self._cached[0] != task_ids:
            asked = torch.stack([self.embeddings[i] for i in task_ids])
            self._cached = (task_ids, self.hypernet(asked))
        return self._cached[1]

    def predict(self, x: Tensor, task_id: int | None) -> Prediction:
        if task_id is not None:
            weights = self.weights_for((task_id,))[0]
            return Prediction(self.target(weights, x, self.buffers_of[task_id]))
        rows = max(1, INFERENCE_ROWS // self.num_learned)
        parts = [self._predict_inferred(part) for part in x.split(rows)]
        logits, task_ids = zip(*parts, strict=True)
        return Prediction(torch.cat(logits), torch.cat(task_ids))

    def _predict_inferred(self, x: Tensor) -> Prediction:
        """All tasks' networks on all inputs at once; only the picked task's head competes."""
        weights = self.weights_for(tuple(range(self.num_learned)))
        buffers = [self.buffers_of[i] for i in range(self.num_learned)]
        heads = self.per_head(self.target.run_many(weights, x, buffers))
        task_ids = self.infer_task(x, heads)
        chosen = pick(heads, task_ids)
        if self.layout.scenario == "domain":
            return Prediction(chosen, task_ids)
        logits = chosen.new_full((len(x), self.layout.num_tasks, chosen.shape[1]), -torch.inf)
        logits[torch.arange(len(x), device=x.device), task_ids] = chosen
        return Prediction(logits.flatten(1), task_ids)

    def per_head(self, logits: Tensor) -> Tensor:
        """(T, B, num_outputs) -> (T, B, classes): each task's network on its own head."""
        if self.layout.scenario == "domain":
            return logits
        return torch.stack([logits[t][:, self.layout.head(t)] for t in range(len(logits))])

    def infer_task(self, x: Tensor, head_logits: Tensor) -> Tensor:
        """int64 (B,): the task each input is taken to be from."""
        return lowest_entropy(head_logits)

    def num_target_weights(self) -> int:
        return self.target.num_weights

    def get_extra_state(self) -> dict[str, Any]:
        state = {
            **super().get_extra_state(),
            "buffers_of": self.buffers_of,
            "task_subsets": self.task_subsets.get_state(),
        }
        if self.task_id >= 0:
            state["optimizer"] = self.optimizer.state_dict()
            state["embedding_optimizer"] = self.embedding_optimizer.state_dict()
        if self.regularizer is not None:
            state["kept_theta"] = self.regularizer.theta_start
            state["kept_embeddings"] = self.regularizer.embeddings
        return state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.buffers_of = {
            task_id: {k: b.to(self.device) for k, b in buffers.items()}
            for task_id, buffers in state["buffers_of"].items()
        }
        self.task_subsets.set_state(state["task_subsets"])
        if self.task_id >= 0:
            self._make_optimizers()
            self.optimizer.load_state_dict(state["optimizer"])
            self.embedding_optimizer.load_state_dict(state["embedding_optimizer"])
        self.regularizer = None
        if "kept_theta" in state:
            theta = [p.to(self.device) for p in state["kept_theta"]]
            past = state["kept_embeddings"].to(self.device)
            self.regularizer = OutputRegularizer(self.hypernet, past, *self._head_mask(), theta)
