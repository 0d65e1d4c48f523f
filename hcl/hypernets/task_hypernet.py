"""A hypernetwork learned task by task: embeddings, optimizers and the output regularizer."""

from typing import Any

import torch
from torch import Tensor, nn

from hcl import seeding
from hcl.config import TrainConfig
from hcl.config.methods import HypernetConfig
from hcl.hypernets.candidate_adam import CandidateAdam
from hcl.hypernets.hypernet import Hypernet
from hcl.hypernets.output_regularizer import OutputRegularizer
from hcl.hypernets.thin_step import ThinStep, is_thin
from hcl.kernels import compiled_adam, one_pass
from hcl.kernels.hidden_layers import Theta

# Assumed where training is given in epochs, to decide whether to compile: data are not known here.
STEPS_PER_EPOCH = 100


class TaskHypernet(nn.Module):
    """Generates a network per task and keeps the past ones (von Oswald et al., 2020), eq. 2.

    Every task starts with new Adam moments; its embedding has an Adam of its own and is frozen
    when the next task starts.

    Args:
        num_weights: weights of the generated network.
        num_tasks: embeddings to have.
        config: beta, sizes, lookahead.
        train: learning rate and betas.
        seed: of the random subsets of past tasks.
    """

    def __init__(
        self,
        num_weights: int,
        num_tasks: int,
        config: HypernetConfig,
        train: TrainConfig,
        seed: int,
    ) -> None:
        super().__init__()
        self.config, self.train_config = config, train
        self.hypernet = Hypernet(
            num_weights,
            config.embedding_size,
            config.chunk_embedding_size,
            config.chunk_size,
            config.hidden_sizes,
            config.activation,
            config.init,
        )
        self.embeddings = nn.ParameterList(
            torch.randn(config.embedding_size) for _ in range(num_tasks)
        )
        self.task_id = -1
        self.compile_seconds = 0.0
        self.regularizer: OutputRegularizer | None = None
        self.thin_step: ThinStep | None = None  # of the current task, where it applies
        self.task_subsets = seeding.generator(seed, "reg_tasks")

    def start_task(
        self, task_id: int, keep: Tensor | None = None, first_masked: int | None = None
    ) -> None:
        """New optimizers, and the regularizer that holds on to the past tasks' weights.

        Args:
            task_id: the task that begins.
            keep, first_masked: see OutputRegularizer.
        """
        self.task_id = task_id
        self._make_optimizers()
        self.regularizer = None
        if task_id > 0 and self.config.beta > 0:
            past = self.stacked_embeddings(range(task_id)).detach()
            self.regularizer = self._make_regularizer(past, keep, first_masked)
        self._compile()

    def _make_regularizer(
        self,
        past: Tensor,
        keep: Tensor | None,
        first_masked: int | None,
        theta: Theta | None = None,
    ) -> OutputRegularizer:
        is_rough = self.config.reg_precision == "bfloat16"
        return OutputRegularizer(self.hypernet, past, keep, first_masked, theta, is_rough)

    def _make_optimizers(self) -> None:
        lr, betas = (
            self.train_config.lr,
            (self.train_config.adam_beta1, self.train_config.adam_beta2),
        )
        self.optimizer = CandidateAdam(self.hypernet.theta(), lr, betas)
        self.embedding_optimizer = CandidateAdam([self.embeddings[self.task_id]], lr, betas)

    def _compile(self) -> None:
        """What a step can have compiled, if the trial is long enough to save time by it."""
        self.thin_step = None
        if self.regularizer is None or self.config.lookahead != "detached":
            return
        is_exact = self.config.reg_precision == "float32" and self.regularizer.keep is None
        if is_thin(self.hypernet) and is_exact:
            if not self._is_compiled(one_pass.SAVED_PER_WEIGHT, one_pass.COMPILE_SECONDS):
                return
            kernel, seconds = one_pass.kernel()
            if kernel is not None:
                self.compile_seconds += seconds
                embedding = self.embeddings[self.task_id]
                self.thin_step = ThinStep(
                    self.hypernet, embedding, self.optimizer, self.regularizer, kernel
                )
        elif self._is_compiled(compiled_adam.SAVED_PER_WEIGHT, compiled_adam.COMPILE_SECONDS):
            self.compile_seconds += self.optimizer.compile()

    def _is_compiled(self, saved_per_weight: float, compile_seconds: float) -> bool:
        train = self.train_config
        num_steps = round(train.epochs * STEPS_PER_EPOCH) or train.iterations
        all_steps, size = num_steps * len(self.embeddings), self.hypernet.output.numel()
        is_worthwhile = all_steps * size * saved_per_weight > 2 * compile_seconds
        return train.compile == "on" or (train.compile == "auto" and is_worthwhile)

    def stacked_embeddings(self, task_ids: range) -> Tensor:
        """(T, embedding_size)"""
        return torch.stack([self.embeddings[i] for i in task_ids])

    def forward(self, task_ids: range) -> Tensor:
        """(T, num_weights) of the asked tasks, in one batched call."""
        return self.hypernet(self.stacked_embeddings(task_ids))

    def current(self) -> Tensor:
        """(num_weights,) of the task being learned."""
        if self.thin_step is not None:
            return self.thin_step.current()
        # Not `[0]`: the gradient of a selection is padded with zeros first.
        return self.hypernet(self.embeddings[self.task_id][None]).squeeze(0)

    def update(self, loss: Tensor, others: list[Tensor]) -> tuple[Tensor | None, list[Tensor]]:
        """One Adam step on `loss` + beta * regularizer.

        Args:
            loss: the task's, computed with `current()`.
            others: further tensors whose gradient of `loss` is wanted (an encoder's weights).

        Returns:
            beta * regularizer, detached (None on the first task), and the gradients of `others`.
        """
        if self.thin_step is not None:
            grad, *own = torch.autograd.grad(loss, [self.thin_step.weights, *others])
            return self.update_through(self.thin_step.weights, grad), own
        embedding, theta = self.embeddings[self.task_id], self.hypernet.theta()
        full = self.regularizer is not None and self.config.lookahead == "full"
        found = torch.autograd.grad(loss, [*theta, embedding, *others], create_graph=full)
        grads, grad_embedding = list(found[: len(theta)]), found[len(theta)]
        penalty = self._step(grads, grad_embedding)
        return penalty, [g.detach() for g in found[len(theta) + 1 :]]

    def update_through(self, weights: Tensor, grad: Tensor) -> Tensor | None:
        """`update` where the gradient for `weights`, made by the latest `current()`, is known."""
        if self.thin_step is not None:
            tasks, beta = self.draw_past_tasks(), self.config.beta
            penalty, grad_embedding = self.thin_step.step(grad, tasks, beta)
            self.embedding_optimizer.step([grad_embedding])
            return penalty
        embedding, theta = self.embeddings[self.task_id], self.hypernet.theta()
        *grads, grad_embedding = torch.autograd.grad(weights, [*theta, embedding], grad)
        return self._step(grads, grad_embedding)

    def _step(self, grads: list[Tensor], grad_embedding: Tensor) -> Tensor | None:
        """From the task loss's gradients to new parameters; beta * regularizer."""
        penalty, more_grads = None, None
        if self.regularizer is not None:
            penalty, extra = self.penalty_and_grads(grads)
            grads = [g.detach() for g in grads]
            more_grads = extra[:-1]
            grad_embedding = grad_embedding.detach() + extra[-1]
        self.optimizer.step(grads, more_grads)
        self.embedding_optimizer.step([grad_embedding])
        return penalty

    def penalty_and_grads(self, grads: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """beta * regularizer at theta + candidate step, and its gradient.

        Args:
            grads: of the task loss for theta; with their graph if it is differentiated through.

        Returns:
            The value, and its gradient for theta and, last, the current embedding (0 unless the
            lookahead is differentiated through).
        """
        assert self.regularizer is not None
        regularizer, tasks, beta = self.regularizer, self.draw_past_tasks(), self.config.beta
        embedding, theta = self.embeddings[self.task_id], self.hypernet.theta()
        if self.config.lookahead == "off":
            penalty, extra = regularizer.value_and_grads(self.optimizer.params, tasks, beta)
            return penalty, [*extra, torch.zeros_like(embedding)]
        if self.config.lookahead == "detached":
            lower = self.optimizer.ahead(grads, regularizer.kept, regularizer.change)
            penalty, extra = regularizer.value_and_grads_at(lower, tasks, beta)
            return penalty, [*extra, torch.zeros_like(embedding)]
        steps = self.optimizer.differentiable_candidate(grads)
        penalty = beta * regularizer([p + d for p, d in zip(theta, steps, strict=True)], tasks)
        inputs = [*theta, embedding]
        found = torch.autograd.grad(penalty, inputs, allow_unused=True)
        return penalty.detach(), [
            torch.zeros_like(p) if g is None else g for p, g in zip(inputs, found, strict=True)
        ]

    def draw_past_tasks(self) -> Tensor | None:
        """A random subset of past tasks, or None for all (PAPER.md, section 3)."""
        if self.config.reg_tasks == 0 or self.config.reg_tasks >= self.task_id:
            return None
        order = torch.randperm(self.task_id, generator=self.task_subsets)
        return order[: self.config.reg_tasks].to(self.embeddings[0].device)

    def set_learning_rate(self, rate: float) -> None:
        """Of the hypernetwork and the current embedding, from the next step on."""
        self.optimizer.lr = self.embedding_optimizer.lr = rate

    def num_stored(self) -> int:
        """Numbers in hypernetwork and embeddings: |Theta_h u {e}| of the compression ratio."""
        return sum(p.numel() for p in self.parameters())

    def training_state(self) -> dict[str, Any]:
        """What a restart needs beside the parameters; a method puts it into its extra state."""
        state: dict[str, Any] = {
            "task_id": self.task_id,
            "task_subsets": self.task_subsets.get_state(),
        }
        if self.task_id >= 0:
            state["optimizer"] = self.optimizer.state_dict()
            state["embedding_optimizer"] = self.embedding_optimizer.state_dict()
        if self.regularizer is not None:
            # A copy, for a checkpoint would hold all that a view is a part of.
            state["kept_theta"] = [t.clone() for t in self.regularizer.theta_start]
            state["kept_embeddings"] = self.regularizer.embeddings
        return state

    def load_training_state(
        self, state: dict[str, Any], keep: Tensor | None = None, first_masked: int | None = None
    ) -> None:
        """Put back what `training_state` returned; `keep` and `first_masked` as at the start."""
        self.task_id = state["task_id"]
        self.task_subsets.set_state(state["task_subsets"])
        if self.task_id >= 0:
            self._make_optimizers()
            self.optimizer.load_state_dict(state["optimizer"])
            self.embedding_optimizer.load_state_dict(state["embedding_optimizer"])
        self.regularizer = None
        if "kept_theta" in state:
            device = self.embeddings[0].device
            theta: Theta = [p.to(device) for p in state["kept_theta"]]
            past = state["kept_embeddings"].to(device)
            self.regularizer = self._make_regularizer(past, keep, first_masked, theta)
        self._compile()
