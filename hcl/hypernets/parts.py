"""The parts of a hypernetwork's training step, and the one place where they are chosen.

`train/kernels: plain` takes the clear files of this folder, `fast` those of `hcl/kernels`, which
compute the same sooner; tests/kernels/test_fast_parts.py holds each to its clear one.
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
from hcl.kernels.compiled_step import compiled_step
from hcl.kernels.fast_adam import FastAdam
from hcl.kernels.gram_regularizer import GramRegularizer
from hcl.kernels.hypernet_layers import generate


class Adam(AdamState, Protocol):
    """An optimizer as `CandidateAdam` describes it."""

    params: list[Tensor]

    def ahead(self, grads: list[Tensor]) -> list[Tensor]: ...

    def step(self, grads: list[Tensor], more_grads: list[Tensor] | None = None) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Regularizer(Protocol):
    """A regularizer as `OutputRegularizer` describes it."""

    embeddings: Tensor
    theta_start: Theta

    def __call__(self, theta: Theta, tasks: Tensor | None = None) -> Tensor: ...

    def value_and_grads(
        self, theta: Theta, tasks: Tensor | None = None, strength: float = 1.0
    ) -> tuple[Tensor, list[Tensor]]: ...


class Step(Protocol):
    """A step of one task in place of the general one; see ThinStep."""

    weights: Tensor  # what `current` gave
    compile_seconds: float

    def current(self) -> Tensor: ...

    def step(
        self, grad_weights: Tensor, tasks: Tensor | None, beta: float
    ) -> tuple[Tensor, Tensor]: ...


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
    step = partial(compiled_step, train=train, num_tasks=num_tasks)
    # The other lookaheads have the general step only.
    return Parts(
        generate, FastAdam, regularizer, step if config.lookahead == "detached" else _no_step
    )


def _no_step(*_: object) -> None:
    return None
