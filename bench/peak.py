"""Speed of a step's matrix products beside the machine's best, and a profile of a step."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from bench.steps import batch, ours, steppers
from hcl.hypernets.plain import SETTINGS
from hcl.kernels.matmul import fastest_float32

SIDE, ROUNDS = 1536, 20  # square matrices of this side, multiplied this often


def peak_gflops() -> float:
    """Return the best speed seen in large float32 products, in 10^9 operations per second."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    with fastest_float32():
        seconds = min(_seconds(lambda: a @ b) for _ in range(ROUNDS))
    return 2e-9 * SIDE**3 / seconds


def step_gflop(spec: str) -> float:
    """Count the floating point operations of a step's matrix products, in 10^9."""
    name, past = spec.split(":")
    sizes = SETTINGS[name]
    method = ours(sizes, int(past), compiled="off")  # torch cannot count compiled products
    x, y = batch(sizes)
    y = y + int(past) * sizes.classes
    counter = FlopCounterMode(display=False, custom_mapping=fused_layers())
    with fastest_float32():
        method.train_step(x, y)
        with counter:
            method.train_step(x, y)
    return counter.get_total_flops() / 1e9


def print_profile(spec: str, num_steps: int = 10) -> None:
    """Print the operations that take most of a step's time, by torch's profiler."""
    name, past = spec.split(":")
    step = steppers(name, int(past))["ours"]()
    for _ in range(3):
        step()
    with profile() as found:
        for _ in range(num_steps):
            step()
    print(f"{spec}, {num_steps} steps")
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=15))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def fused_layers() -> dict[Any, Any]:
    """Return counters for operations that torch's own counter does not know.

    `hcl.kernels.matmul.linear` uses a private operation of oneDNN.
    """
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return {operator: _flop_of_layer} if operator is not None else {}


def _flop_of_layer(x: list[int], weight: list[int], *_: object, **__: object) -> int:
    return 2 * math.prod(x) * weight[0]
