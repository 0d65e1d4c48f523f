"""How much of the machine's matrix products a step of ours reaches, and where its time goes."""

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

SIDE, ROUNDS = 1536, 20  # of the square matrices multiplied


def peak_gflops() -> float:
    """10^9 floating point operations a second in large float32 products, the best of some."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    with fastest_float32():
        seconds = min(_seconds(lambda: a @ b) for _ in range(ROUNDS))
    return 2e-9 * SIDE**3 / seconds


def step_gflop(spec: str) -> float:
    """10^9 floating point operations of the matrix products in a step."""
    name, past = spec.split(":")
    sizes = SETTINGS[name]
    method = ours(sizes, int(past), compiled="off")  # what a compiler made is not counted
    x, y = batch(sizes)
    y = y + int(past) * sizes.classes
    counter = FlopCounterMode(display=False, custom_mapping=_fused_layers())
    with fastest_float32():
        method.train_step(x, y)
        with counter:
            method.train_step(x, y)
    return counter.get_total_flops() / 1e9


def print_profile(spec: str, num_steps: int = 10) -> None:
    """The operations that take most of a step's time, by torch's profiler."""
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


def _fused_layers() -> dict[Any, Any]:
    """How to count the private operation of `hcl.kernels.matmul.linear`."""
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return {operator: _flop_of_layer} if operator is not None else {}


def _flop_of_layer(x: list[int], weight: list[int], *_: object, **__: object) -> int:
    return 2 * math.prod(x) * weight[0]
