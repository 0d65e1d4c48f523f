"""Adam's candidate and step, each compiled into one pass over memory.

torch's own fused kernel cannot leave the moments as they are, so that a candidate costs copies of
parameters and moments; and it takes one gradient, not the sum of two.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Tensors = list[Tensor]
# What a compiled step saves, against torch's kernels, per weight of the hypernetwork (measured at
# 2 M weights), and what compiling costs at most: docs/performance.md.
SAVED_PER_WEIGHT = 1e-9
COMPILE_SECONDS = 20.0


def ahead(
    params: Tensors, grads: Tensors, first: Tensors, second: Tensors, base: Tensor,
    into: Tensors, scalars: Tensor, betas: tuple[float, float], eps: float,
) -> None:  # fmt: skip
    """Write the parameters after the next step to `into`; of the last, its distance from `base`.

    Args:
        params, grads, first, second: parameters, gradients and moments; nothing is changed.
        base: of the last parameter's shape.
        into: tensors of the parameters' shapes.
        scalars: (2,): learning rate / (1 - beta1^t), and sqrt(1 - beta2^t), of the coming step t.
        betas, eps: Adam's.
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
    """Adam's step on the sum of two gradients, in place; arguments as in `ahead`."""
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
    seconds: float  # that compiling took


def compile_for(params: Tensors, betas: tuple[float, float], eps: float) -> CompiledAdam | None:
    """Both kernels for these parameters' shapes and device; None where nothing can be compiled.

    A machine without a C++ compiler (on a GPU: without Triton) trains on with torch's kernels.
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
    settings: Any = torch._dynamo.config
    # Each trial of a process has shapes of its own, and is compiled for them.
    settings.recompile_limit = max(settings.recompile_limit, 256)
    inductor: Any = torch._inductor.config
    inductor.compile_threads = 1  # a pool of processes is more than two small kernels need
    return torch.compile(ahead, dynamic=False), torch.compile(step, dynamic=False)
