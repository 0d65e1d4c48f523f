"""The parts of a hypernetwork's training step, and the one place where they are chosen.

`train/kernels: plain` takes the clear files of this folder, `fast` those of `hcl/kernels`, which
compute the same faster; tests/kernels/test_fast_parts.py holds each to its clear one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from torch import Tensor

from hcl.config import TrainConfig
from hcl.config.methods import HypernetConfig
from hcl.hypernets.candidate_adam import AdamState, CandidateAdam
from hcl.hypernets.hypernet import Hypernet, Theta
from hcl.hypernets.output_regularizer import OutputRegularizer
from hcl.kernels.fast_adam import FastAdam
from hcl.kernels.gram_regularizer import GramRegularizer
from hcl.kernels.hypernet_layers import generate
from hcl.kernels.one_pass import thin_step


class Adam(AdamState, Protocol):
    """An optimizer with the interface of `CandidateAdam`."""

    params: list[Tensor]

    def ahead(self, grads: list[Tensor]) -> list[Tensor]:
        """Give the parameters as `step(grads)` would leave them."""

    def step(self, grads: list[Tensor], more_grads: list[Tensor] | None = None) -> None:
        """Update moments and parameters on the sum of both."""

    def state_dict(self) -> dict[str, Any]:
        """Give moments and step count."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""


class Regularizer(Protocol):
    """A regularizer with the interface of `OutputRegularizer`."""

    embeddings: Tensor
    theta_start: Theta

    def __call__(self, theta: Theta, tasks: Tensor | None = None) -> Tensor:
        """Compute the penalty, differentiable once."""

    def value_and_grads(
        self, theta: Theta, tasks: Tensor | None = None, strength: float = 1.0
    ) -> tuple[Tensor, list[Tensor]]:
        """Compute `strength` times the penalty, and its gradient for each of `theta`."""


class Step(Protocol):
    """A training step of one task that replaces the general one, such as `ThinStep`."""

    weights: Tensor  # what `current` gave
    compile_seconds: float

    def current(self) -> Tensor:
        """Generate the weights of the current task."""

    def step(
        self, grad_weights: Tensor, tasks: Tensor | None, beta: float
    ) -> tuple[Tensor, Tensor]:
        """Take Adam's step; gives beta * regularizer and the gradient for the embedding."""


@dataclass(frozen=True)
class Parts:
    """One implementation of everything that a step consists of.

    Attributes:
        generate: (hypernet, embeddings, theta) -> weights, as `Hypernet.forward`.
        adam: arguments as CandidateAdam's.
        regularizer: arguments as OutputRegularizer's.
        step: (hypernet, embedding, optimizer, regularizer) -> a step that replaces the general
            one for a task with past ones, or None.
    """

    generate: Callable[[Hypernet, Tensor, Theta], Tensor]
    adam: Callable[..., Adam]
    regularizer: Callable[..., Regularizer]
    step: Callable[..., Step | None]


def choose_parts(config: HypernetConfig, train: TrainConfig, num_tasks: int) -> Parts:
    """Choose the implementation for a trial of `num_tasks` tasks."""
    if train.kernels == "plain":
        return Parts(Hypernet.forward, CandidateAdam, OutputRegularizer, _no_step)
    regularizer = partial(GramRegularizer, is_bfloat16=config.reg_precision == "bfloat16")
    step = partial(thin_step, train=train, num_tasks=num_tasks)
    # The other lookaheads have the general step only.
    return Parts(
        generate, FastAdam, regularizer, step if config.lookahead == "detached" else _no_step
    )


def _no_step(*_: object) -> None:
    return None
