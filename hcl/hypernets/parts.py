"""The parts of a hypernetwork's training step, and the one place where they are chosen.

`train/kernels: plain` takes the clear files of this folder, `fast` those of `hcl/kernels`, which
compute the same faster; tests/kernels/test_fast_parts.py holds each to its clear one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from hcl.config import TrainConfig
from hcl.config.methods import HypernetConfig
from hcl.hypernets.candidate_adam import CandidateAdam
from hcl.hypernets.hypernet import Hypernet, Theta
from hcl.hypernets.output_regularizer import OutputRegularizer
from hcl.kernels.fast_adam import FastAdam
from hcl.kernels.gram_regularizer import GramRegularizer
from hcl.kernels.hypernet_layers import generate
from hcl.kernels.one_pass import ThinStep, thin_step

Adam = CandidateAdam | FastAdam
Regularizer = OutputRegularizer | GramRegularizer


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
    step: Callable[..., ThinStep | None]


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
