"""A training step that goes over a thin output layer once, compiled from one_pass.cpp.

(The same file has the step of `hcl.networks.consolidating_step`.)

With a few dozen hidden units a hypernetwork's output layer is long and thin, and memory limits a
step: separate operations read and write a dozen arrays of that size, for the task loss's gradient,
the candidate, its products, the regularizer's gradient, and Adam. Here these share one pass over
blocks of columns that stay in the processor's cache.
"""

import ctypes
import logging
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hcl.config import TrainConfig
from hcl.kernels.fast_adam import FastAdam
from hcl.kernels.gram_regularizer import GramRegularizer
from hcl.kernels.hypernet_layers import (
    Hidden,
    Shape,
    gradient_for_features,
    through_output,
    with_one,
)
from hcl.kernels.matmul import ProductsOfSize

SOURCE = Path(__file__).with_name("one_pass.cpp")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-shared", "-fPIC", "-std=c++17")
# What a step saves per weight of the hypernetwork, and what compiling costs at most (measured at
# 2 M weights): docs/performance.md.
SAVED_PER_WEIGHT = 1e-9
COMPILE_SECONDS = 3.0
# Rows of the output layer up to which this is faster than a library's products.
THIN = 64

# Assumed where training is given in epochs: the data are not known when this is decided.
STEPS_PER_EPOCH = 100

Kernel = Callable[..., Any]


def is_wanted(
    train: TrainConfig, num_tasks: int, size: int, saved_per_weight: float = SAVED_PER_WEIGHT
) -> bool:
    """Say if compiling is asked for, or saves a trial twice the time that it takes.

    Args:
        train: how many steps a task has, and `train/compile`.
        num_tasks: how many tasks the trial has.
        size: how many weights a step changes.
        saved_per_weight: seconds that each step saves for each of them.
    """
    num_steps = round(train.epochs * STEPS_PER_EPOCH) or train.iterations
    saved = num_steps * num_tasks * size * saved_per_weight
    return train.compile == "on" or (train.compile == "auto" and saved > 2 * COMPILE_SECONDS)


def kernel(name: str = "one_pass") -> tuple[Kernel | None, float]:
    """Compile this folder's passes, once per process.

    Args:
        name: of a pass: one_pass or consolidating_step.

    Returns:
        The pass, or None where there is no compiler, with a warning; and the seconds it took now.
    """
    began = time.monotonic()
    library = _compile()
    found = None if library is None else getattr(library, name)
    return found, time.monotonic() - began


@cache
def _compile() -> Any | None:
    command = [*shlex.split(os.environ.get("CXX", "c++")), *FLAGS, str(SOURCE), "-o"]
    try:
        with tempfile.TemporaryDirectory(prefix="hcl-") as folder:
            library = Path(folder) / "one_pass.so"
            subprocess.run(
                [*command, str(library)], check=True, capture_output=True, text=True, timeout=120
            )
            found: Any = ctypes.CDLL(str(library))  # stays loaded without its file
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or "").strip() or str(error)
        logging.getLogger("hcl").warning(
            "the training step is not compiled (%s); training goes on without",
            said.splitlines()[0],
        )
        return None
    number, array = ctypes.c_int64, ctypes.c_void_p
    found.one_pass.argtypes = [*[number] * 4, array, array, number, *[array] * 7, number]
    found.one_pass.restype = None
    found.consolidating_step.argtypes = [number, *[array] * 8, ctypes.c_float, number]
    found.consolidating_step.restype = ctypes.c_double
    return found


@dataclass(frozen=True)
class OutputLayer:
    """Arrays that the pass works on, (rows, columns) each: contiguous, float32, on the CPU."""

    kernel: Kernel
    value: Tensor
    first: Tensor  # Adam's moments
    second: Tensor
    kept: Tensor  # the value at the start of the task

    def step(
        self,
        features: Tensor,
        grad_weights: Tensor,
        cut: int,
        factors: tuple[Tensor, Tensor],
        adam_numbers: tuple[float, ...],
    ) -> list[Tensor]:
        """Take Adam's step on the task loss and the regularizer, in place.

        Args:
            features: (chunks, rows), those that made the weights with `value`.
            grad_weights: (num_weights,), the task loss's gradient for these weights, chunk after
                chunk, the last one cut.
            cut: columns before it get the first of `factors`, the others the second.
            factors: (rows, 2 rows) each, the K of FeatureGrams.output_factor.
            adam_numbers: learning rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t), 1 - beta1, beta2,
                1 - beta2, eps.

        Returns:
            V* E' over E E', (2 rows, rows), for the columns before the cut and for those after.
        """
        rows, columns = self.value.shape
        grad_weights = grad_weights.contiguous()
        chunks = len(features)
        last = grad_weights.numel() - (chunks - 1) * columns  # columns of the last chunk
        numbers = torch.tensor(adam_numbers, dtype=torch.float32)
        products = [torch.zeros(2 * rows, rows, dtype=torch.float64) for _ in factors]
        # Between two bounds all columns have the same factor and the same number of chunks.
        bounds = sorted({0, cut, last, columns})
        for begin, end in pairwise(bounds):
            which, seen = int(begin >= cut), chunks - (begin >= last)
            by_row, by_factor = features[:seen].T.contiguous(), factors[which].contiguous()
            self.kernel(
                rows, columns, begin, end, by_row.data_ptr(), grad_weights.data_ptr(), seen,
                self.value.data_ptr(), self.kept.data_ptr(), self.first.data_ptr(),
                self.second.data_ptr(), by_factor.data_ptr(), products[which].data_ptr(),
                numbers.data_ptr(), torch.get_num_threads(),
            )  # fmt: skip
        return [_mirrored(found).to(self.value.dtype) for found in products]


def _mirrored(products: Tensor) -> Tensor:
    """Fill in the upper half of E E', which is symmetric: the pass computes the lower one."""
    mixed, change = products.tensor_split(2)
    return torch.cat([mixed, change.tril() + change.tril(-1).T])


class ThinStep:
    """A training step with lookahead "detached", without autograd.

    The same as `TaskHypernet`'s own step, up to rounding.

    Args:
        shape: the hypernetwork's.
        embedding: that of the current task.
        optimizer: that of the hypernetwork's parameters.
        regularizer: that of the past tasks, without a mask.
        kernel: the compiled pass.
        seconds: time that compiling took.
    """

    def __init__(
        self,
        shape: Shape,
        embedding: Tensor,
        optimizer: FastAdam,
        regularizer: GramRegularizer,
        kernel: Kernel,
        seconds: float,
    ) -> None:
        self.shape, self.embedding = shape, embedding.detach()
        self.optimizer, self.regularizer, self.kernel = optimizer, regularizer, kernel
        self.compile_seconds = seconds
        self.weights = torch.empty(0)
        self._work = shape.num_chunks * len(optimizer.params[-1]) ** 2

    @torch.no_grad()
    def current(self) -> Tensor:
        """Generate (num_weights,), those of the current task, to differentiate its loss for."""
        *lower, output = self.optimizer.params
        with ProductsOfSize(self._work):
            self._hidden = Hidden.of(self.embedding[None], lower, self.shape.activation)
        self._features = with_one(self._hidden.layers[-1])  # (1, K, H + 1)
        weights = through_output(self._features, output, self.shape.num_weights)
        self.weights = weights.squeeze(0).requires_grad_()
        return self.weights

    @torch.no_grad()
    def step(
        self, grad_weights: Tensor, tasks: Tensor | None, beta: float
    ) -> tuple[Tensor, Tensor]:
        """Take Adam's step on the task loss + beta * regularizer.

        Args:
            grad_weights: (num_weights,), the task loss's gradient for what `current` gave.
            tasks: past tasks to regularize, None for all.
            beta: strength of the regularizer.

        Returns:
            beta * regularizer, and the gradient for the embedding.
        """
        optimizer, regularizer = self.optimizer, self.regularizer
        output = optimizer.params[-1]
        grad_features = gradient_for_features(grad_weights[None], output)
        with ProductsOfSize(self._work):
            grads, grad_embedding = self._hidden.gradients(grad_features[..., :-1])
        layer = OutputLayer(
            self.kernel, output, optimizer.first[-1], optimizer.second[-1], regularizer.kept
        )
        features, numbers = self._features.squeeze(0), self._adam_numbers()

        def over_output(before: Tensor, after: Tensor) -> tuple[list[Tensor], None]:
            factors = before, after
            return layer.step(features, grad_weights, regularizer.cut, factors, numbers), None

        lower = optimizer.ahead(grads)
        penalty, extra = regularizer.value_and_grads_at(lower, tasks, beta, over_output)
        optimizer.step(grads, extra)
        return penalty, grad_embedding.squeeze(0)

    def _adam_numbers(self) -> tuple[float, ...]:
        """Give the coming step's numbers; see OutputLayer.step."""
        scale1, scale2 = self.optimizer.bias_corrections()
        beta1, beta2 = self.optimizer.betas
        # 1 - beta here, in double precision: in float32 it would be off by 1e-5 and more.
        rate = self.optimizer.lr / scale1
        return (rate, scale2**-0.5, 1 - beta1, beta2, 1 - beta2, self.optimizer.eps)


def is_possible(optimizer: FastAdam, regularizer: GramRegularizer) -> bool:
    """Say if the output layer is thin, in float32 on the CPU, and no past task has a mask."""
    output = optimizer.params[-1]
    is_plain = regularizer.keep is None and not regularizer.past.is_bfloat16
    is_thin = output.device.type == "cpu" and len(output) <= THIN
    return is_plain and is_thin and output.dtype == torch.float32


def thin_step(
    shape: Shape,
    embedding: Tensor,
    optimizer: FastAdam,
    regularizer: GramRegularizer,
    train: TrainConfig,
    num_tasks: int,
) -> ThinStep | None:
    """Build a step with lookahead "detached", if the trial is long enough to save time by it.

    Args:
        shape: the hypernetwork's.
        embedding: that of the current task.
        optimizer: that of the hypernetwork's parameters.
        regularizer: that of the past tasks.
        train: how many steps a task has, and whether to compile.
        num_tasks: how many tasks the trial has.

    Returns:
        None where it does not apply, is not worth while, or there is no compiler.
    """
    size = optimizer.params[-1].numel()
    if not is_possible(optimizer, regularizer) or not is_wanted(train, num_tasks, size):
        return None
    found, seconds = kernel()
    if found is None:
        return None
    return ThinStep(shape, embedding, optimizer, regularizer, found, seconds)
