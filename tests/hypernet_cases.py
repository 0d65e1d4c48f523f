"""Small hypernetworks with past tasks, shared by the tests of the clear and of the fast parts."""

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from hcl.hypernets import HeadMask, Hypernet, OutputRegularizer
from hcl.hypernets.hypernet import ACTIVATIONS, Theta
from hcl.kernels.gram_regularizer import GramRegularizer

SHAPES: dict[str, dict[str, Any]] = {
    "full": {"chunk_size": 0},
    "exact chunks": {"chunk_size": 10},
    "surplus": {"chunk_size": 7},
    "one chunk": {"chunk_size": 30},
    "chunk larger than weights": {"chunk_size": 31},
    "linear": {"chunk_size": 7, "hidden_sizes": ()},
    "linear full": {"chunk_size": 0, "hidden_sizes": ()},
    "deep": {"chunk_size": 4, "hidden_sizes": (5, 6, 4), "activation": "sigmoid"},
    "relu": {"chunk_size": 7, "hidden_sizes": (6, 5), "activation": "relu"},
}
Regularizer = OutputRegularizer | GramRegularizer


class Case:
    """A hypernetwork, past tasks and a candidate, all drawn from `seed`."""

    def __init__(self, seed: int, num_tasks: int, num_weights: int, **shape: Any) -> None:
        torch.manual_seed(seed)
        sizes = {"chunk_size": 0, "hidden_sizes": (5,), "activation": "elu", **shape}
        self.hypernet = Hypernet(num_weights, 3, 2, **sizes)
        with torch.no_grad():
            for p in self.hypernet.theta():  # biases too
                p.add_(0.3 * torch.randn_like(p))
        self.embeddings = torch.randn(num_tasks, 3)

    def candidate(self, distance: float = 0.1) -> Theta:
        """Parameters at some distance from the hypernetwork's own."""
        return [
            (p + distance * torch.randn_like(p)).detach().requires_grad_()
            for p in self.hypernet.theta()
        ]

    def regularizer(
        self, kind: type[Regularizer], mask: HeadMask | None = None, **more: Any
    ) -> Any:
        """A regularizer that keeps what the hypernetwork generates now."""
        start = [p.detach().clone() for p in self.hypernet.theta()]
        return kind(self.hypernet, self.embeddings, start, mask, **more)

    def direct(self, theta: Theta, keep: Tensor | None, tasks: list[int]) -> Tensor:
        """eq. 2 of von Oswald et al. (2020), word by word."""
        total = torch.zeros(())
        for task in tasks:
            embedding = self.embeddings[task][None]
            change = self.hypernet(embedding, theta)[0] - self.hypernet(embedding)[0].detach()
            total = total + (change if keep is None else change[keep[task]]).square().sum()
        return total / len(tasks)


def heads_mask() -> HeadMask:
    """For three tasks and 30 weights: the last 12 are heads of four weights each."""
    keep = torch.ones(3, 30, dtype=torch.bool)
    for task in range(3):
        keep[task, 18:] = False
        keep[task, 18 + 4 * task : 22 + 4 * task] = True
    return HeadMask(keep, 18)


def drawn(data: st.DataObject) -> tuple[Case, HeadMask | None, list[int]]:
    """Any case, any mask, some past tasks in any order."""
    draw = data.draw
    num_tasks, num_weights = draw(st.integers(1, 4)), draw(st.integers(1, 40))
    case = Case(
        draw(st.integers(0, 99)),
        num_tasks,
        num_weights,
        chunk_size=draw(st.integers(0, 45)),
        hidden_sizes=tuple(draw(st.lists(st.integers(1, 5), max_size=3))),
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
    )
    mask = None
    if draw(st.booleans()):
        first = draw(st.integers(0, num_weights))
        keep = torch.rand(num_tasks, num_weights) < 0.5
        keep[:, :first] = True
        mask = HeadMask(keep, first)
    order = draw(st.permutations(range(num_tasks)))
    return case, mask, order[: draw(st.integers(1, num_tasks))]


def subset(case: Case, tasks: list[int]) -> Tensor | None:
    """Tasks as a regularizer takes them: None for all in their order."""
    return None if tasks == list(range(len(case.embeddings))) else torch.tensor(tasks)
