"""The reference algorithm, written plainly: the baseline of every speed ratio.

Task-conditioned chunked hypernetwork with output regularizer as the paper (von Oswald et al.,
2020, eq. 2) and the authors' code do it: one hypernetwork forward per task, targets stored for
every past task, Adam's step, the candidate step and the regularizer by separate loops. Nothing of
hcl is used, so that tests can compare the two.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "elu": F.elu}


@dataclass(frozen=True)
class Sizes:
    """One of the paper's settings (PAPER.md, section 3)."""

    inputs: int
    hidden: tuple[int, ...]
    num_tasks: int
    classes: int
    embedding: int
    chunk_embedding: int
    chunk: int
    hypernet: tuple[int, ...]
    activation: str
    beta: float
    lr: float

    def shapes(self) -> list[tuple[int, ...]]:
        """Of the target's weights and biases: one head per task."""
        sizes = [self.inputs, *self.hidden, self.num_tasks * self.classes]
        pairs = zip(sizes, sizes[1:], strict=False)
        return [shape for n, m in pairs for shape in ((m, n), (m,))]


SETTINGS = {
    "split": Sizes(784, (400, 400), 5, 2, 96, 96, 42000, (10, 10), "relu", 0.01, 1e-3),
    "p10": Sizes(1024, (1000, 1000), 10, 10, 24, 8, 78000, (25, 25), "elu", 0.1, 1e-4),
    "p100": Sizes(1024, (1000, 1000), 100, 10, 128, 12, 7500, (200, 250, 350), "relu", 0.01, 1e-4),
}


class Reference:
    """A learner in the middle of a sequence: `num_past` tasks behind it, one under way."""

    def __init__(self, sizes: Sizes, num_past: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.sizes, self.task = sizes, num_past
        self.shapes = sizes.shapes()
        self.num_weights = sum(torch.Size(s).numel() for s in self.shapes)
        self.num_chunks = -(-self.num_weights // sizes.chunk)
        widths = [sizes.embedding + sizes.chunk_embedding, *sizes.hypernet, sizes.chunk]
        self.theta = [torch.randn(self.num_chunks, sizes.chunk_embedding)]
        for n, m in zip(widths, widths[1:], strict=False):
            self.theta.append(torch.nn.init.xavier_uniform_(torch.empty(m, n)))
            self.theta.append(torch.zeros(m))
        for parameter in self.theta:
            parameter.requires_grad_()
        self.embeddings = [torch.randn(sizes.embedding) for _ in range(num_past + 1)]
        self.embeddings[-1].requires_grad_()
        self.optimizer = torch.optim.Adam(self.theta, lr=sizes.lr)
        self.embedding_optimizer = torch.optim.Adam([self.embeddings[-1]], lr=sizes.lr)
        with torch.no_grad():
            self.targets = [self.generate(t, self.theta) for t in range(num_past)]

    def generate(self, task: int, theta: list[Tensor]) -> Tensor:
        """All weights of one task's target network, flat."""
        chunks, *layers = theta
        embedding = self.embeddings[task].expand(self.num_chunks, -1)
        h = torch.cat([embedding, chunks], dim=1)
        for i in range(0, len(layers), 2):
            h = F.linear(h, layers[i], layers[i + 1])
            if i < len(layers) - 2:
                h = ACTIVATIONS[self.sizes.activation](h)
        return h.flatten()[: self.num_weights]

    def logits(self, weights: Tensor, x: Tensor) -> Tensor:
        """The target network with these weights."""
        parts = weights.split([torch.Size(s).numel() for s in self.shapes])
        tensors = [p.view(s) for p, s in zip(parts, self.shapes, strict=True)]
        for i in range(0, len(tensors), 2):
            x = F.linear(x, tensors[i], tensors[i + 1])
            if i < len(tensors) - 2:
                x = F.relu(x)
        return x

    def candidate(self) -> list[Tensor]:
        """The step that Adam would take on the gradients there are."""
        steps = []
        for parameter in self.theta:
            state = self.optimizer.state.get(parameter) or {}
            assert parameter.grad is not None
            grad = parameter.grad
            first = state.get("exp_avg", torch.zeros_like(grad)) * 0.9 + 0.1 * grad
            second = state.get("exp_avg_sq", torch.zeros_like(grad)) * 0.999 + 0.001 * grad**2
            count = float(state.get("step", 0)) + 1
            root = (second / (1 - 0.999**count)).sqrt() + 1e-8
            steps.append(-self.sizes.lr * first / (1 - 0.9**count) / root)
        return steps

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """One training step; the task loss and beta times the regularizer."""
        self.optimizer.zero_grad()
        self.embedding_optimizer.zero_grad()
        head = slice(self.task * self.sizes.classes, (self.task + 1) * self.sizes.classes)
        loss = F.cross_entropy(self.logits(self.generate(self.task, self.theta), x)[:, head], y)
        loss.backward()
        penalty = None
        if self.targets:
            moved = [p + d for p, d in zip(self.theta, self.candidate(), strict=True)]
            terms = [
                (self.generate(t, moved) - w).pow(2).sum() for t, w in enumerate(self.targets)
            ]
            penalty = self.sizes.beta * sum(terms, torch.zeros(())) / len(terms)
            penalty.backward()
        self.optimizer.step()
        self.embedding_optimizer.step()
        return loss.detach(), None if penalty is None else penalty.detach()

    def infer_one(self, x: Tensor) -> int:
        """HNET+ENT for one input (1, inputs): the task of lowest entropy, task by task."""
        entropies = []
        for task in range(len(self.embeddings)):
            head = slice(task * self.sizes.classes, (task + 1) * self.sizes.classes)
            log_p = self.logits(self.generate(task, self.theta), x)[:, head].log_softmax(1)
            entropies.append(-(log_p.exp() * log_p).sum())
        return int(torch.stack(entropies).argmin())
