"""Training steps of a hypernetwork that a compiler makes faster, and when to compile.

torch's fused Adam cannot leave the moments as they are, so that a candidate costs copies of
parameters and moments; and it takes one gradient, not the sum of two. `ahead` and `step` do each
in one pass over memory, once `torch.compile` has fused their operations.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hcl.config import TrainConfig
from hcl.kernels import one_pass
from hcl.kernels.fast_adam import FastAdam
from hcl.kernels.gram_regularizer import GramRegularizer
from hcl.kernels.hypernet_layers import Shape, generate
from hcl.kernels.one_pass import ThinStep

Tensors = list[Tensor]
# What a compiled step saves, against torch's kernels, per weight of the hypernetwork (measured at
# 2 M weights), and what compiling costs at most: docs/performance.md.
SAVED_PER_WEIGHT = 1e-9
COMPILE_SECONDS = 20.0


def compiled_step(
    shape: Shape,
    embedding: Tensor,
    optimizer: FastAdam,
    regularizer: GramRegularizer,
    train: TrainConfig,
    num_tasks: int,
) -> "ThinStep | CompiledStep | None":
    """Compile a step with lookahead "detached", if the trial is long enough to save time by it.

    Args:
        shape: the hypernetwork's.
        embedding: that of the current task.
        optimizer: that of the hypernetwork's parameters.
        regularizer: that of the past tasks.
        train: how many steps a task has, and whether to compile.
        num_tasks: how many tasks the trial has.

    Returns:
        None if it is not worth while, or nothing can be compiled here.
    """
    is_thin = one_pass.is_possible(optimizer, regularizer)
    costs = (
        (one_pass.SAVED_PER_WEIGHT, one_pass.COMPILE_SECONDS)
        if is_thin
        else (SAVED_PER_WEIGHT, COMPILE_SECONDS)
    )
    if not one_pass.is_wanted(train, num_tasks, optimizer.params[-1].numel(), *costs):
        return None
    if is_thin:
        return one_pass.thin_step(shape, embedding, optimizer, regularizer)
    kernels = compile_for(optimizer.params, optimizer.betas, optimizer.eps)
    if kernels is None:
        return None
    return CompiledStep(shape, embedding, optimizer, regularizer, kernels)


class CompiledStep:
    """A training step whose candidate and Adam step are one pass over memory each.

    Everything else is as in `TaskHypernet`'s own step.

    Args:
        shape: the hypernetwork's.
        embedding: that of the current task.
        optimizer: that of the hypernetwork's parameters.
        regularizer: that of the past tasks.
        kernels: Adam, compiled for the optimizer's parameters.
    """

    def __init__(
        self,
        shape: Shape,
        embedding: Tensor,
        optimizer: FastAdam,
        regularizer: GramRegularizer,
        kernels: "CompiledAdam",
    ) -> None:
        self.shape, self.optimizer, self.regularizer = shape, optimizer, regularizer
        self.kernels, self.compile_seconds = kernels, kernels.seconds
        # The parameters themselves, as leaves of a graph.
        self._theta = [p.detach().requires_grad_() for p in optimizer.params]
        self._embedding = embedding.detach().requires_grad_()
        self._lower_ahead = [torch.empty_like(p) for p in optimizer.params[:-1]]
        self.weights = torch.empty(0)

    def current(self) -> Tensor:
        """Generate (num_weights,), those of the current task, to differentiate its loss for."""
        # Not `[0]`: the gradient of a selection is padded with zeros first.
        self.weights = generate(self.shape, self._embedding[None], self._theta).squeeze(0)
        return self.weights

    def step(
        self, grad_weights: Tensor, tasks: Tensor | None, beta: float
    ) -> tuple[Tensor, Tensor]:
        """Take Adam's step on the task loss + beta * regularizer; see ThinStep.step."""
        optimizer, regularizer = self.optimizer, self.regularizer
        weights, self.weights = self.weights, torch.empty(0)
        *grads, grad_embedding = torch.autograd.grad(
            weights, [*self._theta, self._embedding], grad_weights
        )
        del weights  # its memory is needed
        state = (optimizer.first, optimizer.second)
        numbers = (self._scalars(), optimizer.betas, optimizer.eps)
        with torch.no_grad():
            into = [*self._lower_ahead, regularizer.change]
            self.kernels.ahead(optimizer.params, grads, *state, regularizer.kept, into, *numbers)
            penalty, extra = regularizer.value_and_grads_at(self._lower_ahead, tasks, beta)
            self.kernels.step(optimizer.params, grads, extra, *state, *numbers)
        optimizer.num_steps += 1
        return penalty, grad_embedding

    def _scalars(self) -> Tensor:
        """Give the coming step's numbers; see `ahead`."""
        scale1, scale2 = self.optimizer.bias_corrections()
        # Filled on the device: a copy from the host would wait for it, in every step.
        device = self.optimizer.params[0].device
        scalars = torch.full((2,), self.optimizer.lr / scale1, device=device)
        scalars[1] = scale2**0.5
        return scalars


def ahead(
    params: Tensors, grads: Tensors, first: Tensors, second: Tensors, base: Tensor,
    into: Tensors, scalars: Tensor, betas: tuple[float, float], eps: float,
) -> None:  # fmt: skip
    """Write the parameters after the next step to `into`; for the last, its distance from `base`.

    Args:
        params: parameters; like the next three they are only read.
        grads: their gradients.
        first: first moments.
        second: second moments.
        base: a tensor of the last parameter's shape.
        into: tensors of the parameters' shapes.
        scalars: (2,): learning rate / (1 - beta1^t), and sqrt(1 - beta2^t), for the coming step t.
        betas: decay of the moments.
        eps: added to the root of the second moment.
    """
    *others, _ = into
    new = []
    for p, g, m, v in zip(params, grads, first, second, strict=True):
        m = torch.lerp(m, g, 1 - betas[0])
        v = v * betas[1] + (1 - betas[1]) * g * g
        new.append(p - scalars[0] * m / (v.sqrt() / scalars[1] + eps))
    for to, value in zip(others, new, strict=False):
        to.copy_(value)
    into[-1].copy_(new[-1] - base)


def step(
    params: Tensors, grads: Tensors, more_grads: Tensors, first: Tensors, second: Tensors,
    scalars: Tensor, betas: tuple[float, float], eps: float,
) -> None:  # fmt: skip
    """Take Adam's step on the sum of two gradients, in place; arguments as `ahead`'s."""
    for p, g, more, m, v in zip(params, grads, more_grads, first, second, strict=True):
        total = g + more
        m.lerp_(total, 1 - betas[0])
        v.mul_(betas[1]).addcmul_(total, total, value=1 - betas[1])
        p.sub_(scalars[0] * m / (v.sqrt() / scalars[1] + eps))


@dataclass(frozen=True)
class CompiledAdam:
    """`ahead` and `step`, compiled for tensors of certain shapes."""

    ahead: Callable[..., None]
    step: Callable[..., None]
    seconds: float  # time that compiling took


def compile_for(params: Tensors, betas: tuple[float, float], eps: float) -> CompiledAdam | None:
    """Compile both for these parameters' shapes and device.

    A machine without a C++ compiler (on a GPU: without Triton) trains on with torch's kernels.

    Returns:
        None where nothing can be compiled, with a warning.
    """
    began = time.monotonic()
    try:
        found = _compile()
        copies = [[torch.zeros_like(p) for p in params] for _ in range(5)]
        scalars = torch.ones(2, device=params[0].device)
        params_, grads, more, first, second = copies
        found[0](params_, grads, first, second, more[-1], more, scalars, betas, eps)
        found[1](params_, grads, more, first, second, scalars, betas, eps)
    except (ImportError, OSError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        logging.getLogger("hcl").warning(
            "the training step is not compiled (%s); training goes on without", reason
        )
        return None
    return CompiledAdam(*found, time.monotonic() - began)


def _compile() -> tuple[Callable[..., None], Callable[..., None]]:
    # Compilers import this module, which warns of a CUDA toolkit without a GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    settings: Any = torch._dynamo.config
    # Each trial of a process has shapes of its own, and is compiled for them.
    settings.recompile_limit = max(settings.recompile_limit, 256)
    inductor: Any = torch._inductor.config
    inductor.compile_threads = 1  # a pool of processes is more than two small kernels need
    return torch.compile(ahead, dynamic=False), torch.compile(step, dynamic=False)
