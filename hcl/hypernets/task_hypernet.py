"""A hypernetwork learned task by task: embeddings, optimizers and the output regularizer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hcl import seeding
from hcl.config import TrainConfig
from hcl.config.methods import HypernetConfig
from hcl.hypernets.candidate_adam import candidate
from hcl.hypernets.hypernet import Hypernet, Theta
from hcl.hypernets.initial import TargetTensor, initialise_
from hcl.hypernets.output_regularizer import HeadMask
from hcl.hypernets.parts import Regularizer, choose_parts
from hcl.kernels.one_pass import ThinStep


class TaskHypernet(nn.Module):
    """Generates a network per task and keeps the past ones (von Oswald et al., 2020), eq. 2.

    Every task starts with new Adam moments; its embedding has an Adam of its own and is frozen
    when the next task starts.

    Args:
        num_weights: number of weights of the generated network.
        num_tasks: number of embeddings.
        config: beta, sizes, lookahead, initial values.
        train: learning rate and betas; which implementation to use.
        seed: decides the random subsets of past tasks.
        tensors: what the weights are; only some initial values depend on it.
    """

    def __init__(
        self,
        num_weights: int,
        num_tasks: int,
        config: HypernetConfig,
        train: TrainConfig,
        seed: int,
        tensors: Sequence[TargetTensor] = (),
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
            config.embedding_std * torch.randn(config.embedding_size) for _ in range(num_tasks)
        )
        every = self.stacked_embeddings(range(num_tasks)).detach()
        initialise_(self.hypernet, config.init, every, tensors)
        self.parts = choose_parts(config, train, num_tasks)
        self.task_id = -1
        self.compile_seconds = 0.0
        self.regularizer: Regularizer | None = None
        self.compiled_step: ThinStep | None = None  # in place of the general one, where it applies
        self.task_subsets = seeding.generator(seed, "reg_tasks")

    def start_task(self, task_id: int, mask: HeadMask | None = None) -> None:
        """Make new optimizers, and the regularizer that holds on to the past tasks' weights.

        Args:
            task_id: the task that begins.
            mask: weights that count for each past task; None for all.
        """
        self.task_id = task_id
        self._make_optimizers()
        self.regularizer = None
        if task_id > 0 and self.config.beta > 0:
            past = self.stacked_embeddings(range(task_id)).detach()
            theta_start = [p.detach().clone() for p in self.hypernet.theta()]
            self.regularizer = self.parts.regularizer(self.hypernet, past, theta_start, mask)
        self._compile()

    def _make_optimizers(self) -> None:
        train = self.train_config
        lr, betas = train.lr, (train.adam_beta1, train.adam_beta2)
        self.optimizer = self.parts.adam(self.hypernet.theta(), lr, betas)
        self.embedding_optimizer = self.parts.adam([self.embeddings[self.task_id]], lr, betas)

    def _compile(self) -> None:
        self.compiled_step = None
        if self.regularizer is not None:
            embedding = self.embeddings[self.task_id]
            self.compiled_step = self.parts.step(
                self.hypernet, embedding, self.optimizer, self.regularizer
            )
        if self.compiled_step is not None:
            self.compile_seconds += self.compiled_step.compile_seconds

    def stacked_embeddings(self, task_ids: range) -> Tensor:
        """Give the embeddings of these tasks, (T, embedding_size)."""
        return torch.stack([self.embeddings[i] for i in task_ids])

    def generate(self, embeddings: Tensor) -> Tensor:
        """Generate (T, num_weights) from embeddings (T, embedding_size), in one batched call."""
        return self.parts.generate(self.hypernet, embeddings, self.hypernet.theta())

    def forward(self, task_ids: range) -> Tensor:
        """Generate (T, num_weights), those of the tasks asked for."""
        return self.generate(self.stacked_embeddings(task_ids))

    def current(self) -> Tensor:
        """Generate (num_weights,), those of the task being learned."""
        if self.compiled_step is not None:
            return self.compiled_step.current()
        # Not `[0]`: the gradient of a selection is padded with zeros first.
        return self.generate(self.embeddings[self.task_id][None]).squeeze(0)

    def update(self, loss: Tensor, others: list[Tensor]) -> tuple[Tensor | None, list[Tensor]]:
        """Take one Adam step on `loss` + beta * regularizer.

        Args:
            loss: the task loss, computed with the latest `current()`.
            others: further tensors to differentiate `loss` for, such as an encoder's weights.

        Returns:
            beta * regularizer, detached (None on the first task), and the gradients for `others`.
        """
        if self.compiled_step is not None:
            grad, *own = torch.autograd.grad(loss, [self.compiled_step.weights, *others])
            return self._compiled_update(self.compiled_step, grad), own
        embedding, theta = self.embeddings[self.task_id], self.hypernet.theta()
        full = self.regularizer is not None and self.config.lookahead == "full"
        found = torch.autograd.grad(loss, [*theta, embedding, *others], create_graph=full)
        grads, grad_embedding = list(found[: len(theta)]), found[len(theta)]
        penalty = self._step(grads, grad_embedding)
        return penalty, [g.detach() for g in found[len(theta) + 1 :]]

    def update_through(self, weights: Tensor, grad: Tensor) -> Tensor | None:
        """Do what `update` does where the gradient for the weights is known.

        Args:
            weights: what the latest `current()` gave.
            grad: the task loss's gradient for them.
        """
        if self.compiled_step is not None:
            return self._compiled_update(self.compiled_step, grad)
        embedding, theta = self.embeddings[self.task_id], self.hypernet.theta()
        *grads, grad_embedding = torch.autograd.grad(weights, [*theta, embedding], grad)
        return self._step(grads, grad_embedding)

    def _compiled_update(self, step: ThinStep, grad: Tensor) -> Tensor:
        penalty, grad_embedding = step.step(grad, self.draw_past_tasks(), self.config.beta)
        self.embedding_optimizer.step([grad_embedding])
        return penalty

    def _step(self, grads: list[Tensor], grad_embedding: Tensor) -> Tensor | None:
        """Go from the task loss's gradients to new parameters; gives beta * regularizer."""
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
        """Compute beta * regularizer at theta + candidate step, and its gradient.

        Args:
            grads: the task loss's gradients for theta; with their graph if the lookahead is
                differentiated through ("full").

        Returns:
            The value; and its gradient for theta and, last, the current embedding, which is 0
            unless the lookahead is differentiated through.
        """
        assert self.regularizer is not None
        regularizer, tasks, beta = self.regularizer, self.draw_past_tasks(), self.config.beta
        embedding, theta = self.embeddings[self.task_id], self.hypernet.theta()
        if self.config.lookahead != "full":
            is_ahead = self.config.lookahead == "detached"
            at = self.optimizer.ahead(grads) if is_ahead else self.optimizer.params
            penalty, extra = regularizer.value_and_grads(at, tasks, beta)
            return penalty, [*extra, torch.zeros_like(embedding)]
        steps = candidate(self.optimizer, grads)
        penalty = beta * regularizer([p + d for p, d in zip(theta, steps, strict=True)], tasks)
        inputs = [*theta, embedding]
        found = torch.autograd.grad(penalty, inputs, allow_unused=True)
        return penalty.detach(), [
            torch.zeros_like(p) if g is None else g for p, g in zip(inputs, found, strict=True)
        ]

    def draw_past_tasks(self) -> Tensor | None:
        """Draw a random subset of past tasks, or give None for all."""
        if self.config.reg_tasks == 0 or self.config.reg_tasks >= self.task_id:
            return None
        order = torch.randperm(self.task_id, generator=self.task_subsets)
        return order[: self.config.reg_tasks].to(self.embeddings[0].device)

    def set_learning_rate(self, rate: float) -> None:
        """Set that of the hypernetwork and the current embedding, from the next step on."""
        self.optimizer.lr = self.embedding_optimizer.lr = rate

    def num_stored(self) -> int:
        """Count the numbers in hypernetwork and embeddings, |Theta_h u {e}| in the paper."""
        return sum(p.numel() for p in self.parameters())

    def training_state(self) -> dict[str, Any]:
        """Give what a restart needs beside the parameters; a method adds it to its extra state."""
        state: dict[str, Any] = {
            "task_id": self.task_id,
            "task_subsets": self.task_subsets.get_state(),
        }
        if self.task_id >= 0:
            state["optimizer"] = self.optimizer.state_dict()
            state["embedding_optimizer"] = self.embedding_optimizer.state_dict()
        if self.regularizer is not None:
            # Copies, because saving a view saves the whole tensor that it is a part of.
            state["kept_theta"] = [t.clone() for t in self.regularizer.theta_start]
            state["kept_embeddings"] = self.regularizer.embeddings
        return state

    def learned_state(self) -> dict[str, Any]:
        """Give the part of `training_state` that matters once a task is over."""
        return {"task_id": self.task_id, "task_subsets": self.task_subsets.get_state()}

    def load_training_state(self, state: dict[str, Any], mask: HeadMask | None = None) -> None:
        """Put back what `training_state` or `learned_state` returned.

        Args:
            state: what it returned.
            mask: as at the start of the task.
        """
        self.task_id = state["task_id"]
        self.task_subsets.set_state(state["task_subsets"])
        if self.task_id >= 0:
            self._make_optimizers()
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])
            self.embedding_optimizer.load_state_dict(state["embedding_optimizer"])
        self.regularizer = None
        if "kept_theta" in state:
            device = self.embeddings[0].device
            theta_start: Theta = [p.to(device) for p in state["kept_theta"]]
            past = state["kept_embeddings"].to(device)
            self.regularizer = self.parts.regularizer(self.hypernet, past, theta_start, mask)
        self._compile()
