"""A step's work on a thin output layer in one pass over memory, compiled from one_pass.cpp.

With a few dozen hidden units a hypernetwork's output layer is long and thin, and a step is bound
by the dozen arrays of its size that separate operations read and write: the task loss's gradient,
the candidate, its products, the regularizer's gradient, Adam. Here they share one pass over blocks
of columns that stay in the processor's cache.
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
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("one_pass.cpp")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-shared", "-fPIC", "-std=c++17")
# What a step saves per weight of the hypernetwork, and what compiling costs at most (measured at
# 2 M weights): docs/performance.md.
SAVED_PER_WEIGHT = 1e-9
COMPILE_SECONDS = 3.0

Kernel = Callable[..., None]


def kernel() -> tuple[Kernel | None, float]:
    """Compiled once per process, and the seconds that took this time; None, with a warning, where
    there is no compiler."""
    began = time.monotonic()
    return _compile(), time.monotonic() - began


@cache
def _compile() -> Kernel | None:
    command = [*shlex.split(os.environ.get("CXX", "c++")), *FLAGS, str(SOURCE), "-o"]
    try:
        with tempfile.TemporaryDirectory(prefix="hcl-") as folder:
            library = Path(folder) / "one_pass.so"
            subprocess.run(
                [*command, str(library)], check=True, capture_output=True, text=True, timeout=120
            )
            found: Any = ctypes.CDLL(str(library)).one_pass  # stays loaded without its file
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or "").strip() or str(error)
        logging.getLogger("hcl").warning(
            "the training step is not compiled (%s); training goes on without",
            said.splitlines()[0],
        )
        return None
    number, array = ctypes.c_int64, ctypes.c_void_p
    found.argtypes = [*[number] * 4, array, array, number, *[array] * 7, number]
    found.restype = None
    return cast(Kernel, found)


@dataclass(frozen=True)
class OutputLayer:
    """What the pass reads and changes, (rows, columns) each: contiguous, float32, on the CPU."""

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
        """Adam's step on the task loss and the regularizer, in place.

        Args:
            features: (chunks, rows) that made the weights with `value`.
            grad_weights: (num_weights,) of the task loss, chunk after chunk, the last one cut.
            cut: columns before it get the first of `factors`, the others the second.
            factors: (rows, 2 rows) each: times V* over E they are the regularizer's gradient.
            adam_numbers: learning rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t), 1 - beta1, beta2,
                1 - beta2, eps.

        Returns:
            (2 rows, rows) for the columns before the cut, and after: V* E' over E E'.
        """
        rows, columns = self.value.shape
        grad_weights = grad_weights.contiguous()
        chunks = len(features)
        last = grad_weights.numel() - (chunks - 1) * columns  # columns of the last chunk
        numbers = torch.tensor(adam_numbers, dtype=torch.float32)
        products = [torch.zeros(2 * rows, rows, dtype=torch.float64) for _ in factors]
        bounds = sorted({0, cut, last, columns})
        for begin, end in zip(bounds, bounds[1:], strict=False):
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
    """The upper half of E E', which is symmetric, from the lower one."""
    mixed, change = products.tensor_split(2)
    return torch.cat([mixed, change.tril() + change.tril(-1).T])
