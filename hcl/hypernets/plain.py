"""HNET as the paper describes it, written to be read: start here.

A hypernetwork h(e, theta) generates the weights of a target network from an embedding e_t that is
learned for each task t (von Oswald et al., 2020). Task T minimizes over theta and e_T

    L_T(h(e_T, theta)) + beta / (T - 1) sum_{t < T} || h(e_t, theta*) - h(e_t, theta + d) ||^2

(eq. 2): its own loss, plus how far the weights generated for past tasks move. theta* are the
parameters when the task began, d is the step that the optimizer would take on L_T alone. Large
networks are generated in chunks: h(e_t, c_i) is chunk i, and the c_i belong to theta.

Nothing here is fast, and nothing else of hcl is used: tests hold the library to this file, and the
speed ratios of docs/performance.md are against it. The library's clear parts are `hypernet.py`
(h), `candidate_adam.py` (d), `output_regularizer.py` (the sum) and `task_hypernet.py` (the step).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "elu": F.elu}
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's, as torch and the authors have them


@dataclass(frozen=True)
class Sizes:
    """A setting of the paper, as in the authors' mnist/train_args_default.py."""

    inputs: int
    hidden: tuple[int, ...]  # of the target network
    num_tasks: int
    classes: int  # per task
    embedding: int  # numbers in e_t
    chunk_embedding: int  # numbers in c_i
    chunk: int  # weights per chunk
    hypernet: tuple[int, ...]  # hidden layers of h
    activation: str  # of h
    beta: float
    lr: float

    def shapes(self) -> list[tuple[int, ...]]:
        """List the shapes of the target's weights and biases; it has one head per task."""
        sizes = [self.inputs, *self.hidden, self.num_tasks * self.classes]
        return [shape for n, m in pairwise(sizes) for shape in ((m, n), (m,))]


SETTINGS = {
    "split": Sizes(784, (400, 400), 5, 2, 96, 96, 42000, (10, 10), "relu", 0.01, 1e-3),
    "p10": Sizes(1024, (1000, 1000), 10, 10, 24, 8, 78000, (25, 25), "elu", 0.1, 1e-4),
    "p100": Sizes(1024, (1000, 1000), 100, 10, 128, 12, 7500, (200, 250, 350), "relu", 0.01, 1e-4),
}


class PlainHnet:
    """A learner in the middle of a sequence: `num_past` tasks are over, the next one begins.

    Embeddings of past tasks are drawn at random here, which is enough to measure or compare a
    step. With `num_past` 0, `step` and then `start_task` for each further task learn a sequence.
    """

    def __init__(self, sizes: Sizes, num_past: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.sizes, self.shapes = sizes, sizes.shapes()
        self.num_weights = sum(torch.Size(s).numel() for s in self.shapes)
        self.num_chunks = -(-self.num_weights // sizes.chunk)
        # theta: chunk embeddings, then weight and bias of each layer of h
        self.theta = [torch.randn(self.num_chunks, sizes.chunk_embedding)]
        widths = [sizes.embedding + sizes.chunk_embedding, *sizes.hypernet, sizes.chunk]
        for n, m in pairwise(widths):
            self.theta += [torch.nn.init.xavier_uniform_(torch.empty(m, n)), torch.zeros(m)]
        for parameter in self.theta:
            parameter.requires_grad_()
        self.embeddings = [torch.randn(sizes.embedding) for _ in range(num_past)]
        self.start_task()

    def start_task(self) -> None:
        """Freeze what was learned, store h(e_t, theta*) of past tasks, begin with a new Adam."""
        self.embeddings = [e.detach() for e in self.embeddings]
        with torch.no_grad():
            self.targets = [self.generate(e, self.theta) for e in self.embeddings]
        self.embeddings.append(torch.randn(self.sizes.embedding, requires_grad=True))
        self.optimizer = torch.optim.Adam(self.theta, lr=self.sizes.lr)
        self.embedding_optimizer = torch.optim.Adam([self.embeddings[-1]], lr=self.sizes.lr)

    def generate(self, embedding: Tensor, theta: list[Tensor]) -> Tensor:
        """Compute h(e, theta): all weights of one task's target network, flat."""
        chunks, *layers = theta
        h = torch.cat([embedding.expand(self.num_chunks, -1), chunks], dim=1)
        for i in range(0, len(layers), 2):
            h = F.linear(h, layers[i], layers[i + 1])
            if i < len(layers) - 2:
                h = ACTIVATIONS[self.sizes.activation](h)
        return h.flatten()[: self.num_weights]  # the last chunk is cut to fit

    def logits(self, weights: Tensor, x: Tensor, task: int) -> Tensor:
        """Run the target network with these weights; gives the outputs of the task's head."""
        parts = weights.split([torch.Size(s).numel() for s in self.shapes])
        tensors = [p.view(s) for p, s in zip(parts, self.shapes, strict=True)]
        for i in range(0, len(tensors), 2):
            x = F.linear(x, tensors[i], tensors[i + 1])
            if i < len(tensors) - 2:
                x = F.relu(x)
        return x[:, task * self.sizes.classes : (task + 1) * self.sizes.classes]

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """Take one training step; gives the task loss, and beta times the regularizer.

        Args:
            x: inputs (B, inputs).
            y: labels (B,), counted within the task.
        """
        self.optimizer.zero_grad()
        self.embedding_optimizer.zero_grad()
        task = len(self.targets)
        logits = self.logits(self.generate(self.embeddings[task], self.theta), x, task)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        penalty = None
        if self.targets:
            penalty = self.sizes.beta * self.regularizer(self.candidate())
            penalty.backward()
        self.optimizer.step()
        self.embedding_optimizer.step()
        return loss.detach(), None if penalty is None else penalty.detach()

    def candidate(self) -> list[Tensor]:
        """Compute d: the step that Adam would take on the gradients that there are now."""
        steps = []
        for parameter in self.theta:
            state = self.optimizer.state.get(parameter) or {}
            assert parameter.grad is not None
            grad = parameter.grad
            first = BETA1 * state.get("exp_avg", 0.0) + (1 - BETA1) * grad
            second = BETA2 * state.get("exp_avg_sq", 0.0) + (1 - BETA2) * grad**2
            count = float(state.get("step", 0)) + 1
            root = (second / (1 - BETA2**count)).sqrt() + EPSILON
            steps.append(-self.sizes.lr * first / (1 - BETA1**count) / root)
        return steps

    def regularizer(self, d: list[Tensor]) -> Tensor:
        """Compute the mean over past tasks of || h(e_t, theta*) - h(e_t, theta + d) ||^2."""
        moved = [p + step for p, step in zip(self.theta, d, strict=True)]
        past = self.embeddings[: len(self.targets)]  # all but the current one
        terms = [
            (self.generate(embedding, moved) - target).pow(2).sum()
            for embedding, target in zip(past, self.targets, strict=True)
        ]
        return torch.stack(terms).mean()

    def infer_task(self, x: Tensor) -> int:
        """Infer the task of one input (1, inputs), HNET+ENT: the one of lowest entropy."""
        entropies = []
        for task, embedding in enumerate(self.embeddings):
            weights = self.generate(embedding, self.theta)
            log_p = self.logits(weights, x, task).log_softmax(1)
            entropies.append(-(log_p.exp() * log_p).sum())
        return int(torch.stack(entropies).argmin())
