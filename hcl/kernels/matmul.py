"""Which kernel multiplies float32 matrices on the CPU: the fastest one that really is float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Largest error of a sum of 512 standard normal products: float32 stays below 2e-4, bfloat16 and
# TF32 inputs come to 1e-2 and more.
FLOAT32_ERROR = 1e-3
# Multiplications in a product from which oneDNN is faster than torch's default in spite of the
# time it takes to start.
ONEDNN_FROM = 2_000_000


@contextmanager
def fastest_float32() -> Iterator[None]:
    """Let oneDNN multiply float32 matrices inside the block, where it does so in full precision.

    torch's default is MKL, which on AMD processors leaves AVX-512 unused: oneDNN is 2.2 times as
    fast there. torch only asks oneDNN once bfloat16 arithmetic is allowed. oneDNN then uses it
    on processors with tiles (AMX) alone, and there this block changes nothing: the products are
    checked, not the processor's name.
    """
    if not _is_exact():
        yield
        return
    with _bfloat16_allowed():
        yield


@cache
def _is_exact() -> bool:
    """Whether products keep float32's precision when oneDNN may choose another."""
    has_setting = hasattr(torch.backends.mkldnn, "matmul")  # torch 2.9 and later
    if not (has_setting and torch.backends.mkldnn.is_available()):
        return False
    random = torch.Generator().manual_seed(0)
    with _bfloat16_allowed():
        return all(_error(rows, random) < FLOAT32_ERROR for rows in (1, 32, 256))


class products_of_size:  # noqa: N801  used as a function
    """Inside, small matrices are multiplied by torch's default, not by oneDNN.

    oneDNN takes some 15 us to start. Nothing changes outside of `fastest_float32`, for large
    products, or on a GPU.

    Args:
        work: multiplications of one product inside.
    """

    def __init__(self, work: int) -> None:
        self.is_small = work < ONEDNN_FROM

    def __enter__(self) -> None:
        setting: Any = getattr(torch.backends.mkldnn, "matmul", None)
        self.changes = self.is_small and setting is not None and setting.fp32_precision == "bf16"
        if self.changes:
            setting.fp32_precision = "none"

    def __exit__(self, *error: object) -> None:
        if self.changes:
            setting: Any = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009
            setting.fp32_precision = "bf16"


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x @ weight' + bias of (..., n), (m, n), (m,).

    Large ones that are not differentiated through are one pass over the result on the CPU: torch
    writes the bias, then adds the product. oneDNN's ReLU could be in the same pass, but takes NaN
    to 0, which would hide that training has diverged.
    """
    parts = (x, weight) if bias is None else (x, weight, bias)
    is_differentiated = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
    is_large = x.numel() * len(weight) >= ONEDNN_FROM
    # A part of another weight would be packed element by element: a hundred times slower.
    is_dense = x.is_contiguous() and weight.is_contiguous()
    kind = (x.device.type, x.dtype)
    is_possible = is_large and is_dense and kind == ("cpu", torch.float32)
    if is_possible and not is_differentiated and _is_fused():
        return _fused(x, weight, bias)
    return F.linear(x, weight, bias)


def _fused(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Private to torch, which compiles networks to it: hence `_is_fused`."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


@cache
def _is_fused() -> bool:
    """Whether torch has this operation, and it is float32's and right."""
    random = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(40, 512, generator=random), torch.randn(40, generator=random)
    x = torch.randn(3, 20, 512, generator=random)
    exact = x.double() @ weight.double().T + bias
    try:
        found = _fused(x, weight, bias)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool((found - exact).abs().max() < FLOAT32_ERROR)


@contextmanager
def _bfloat16_allowed() -> Iterator[None]:
    setting: Any = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009  made at run time
    before = setting.fp32_precision
    try:
        setting.fp32_precision = "bf16"
        yield
    finally:
        setting.fp32_precision = before


def _error(rows: int, random: torch.Generator) -> float:
    a = torch.randn(rows, 512, generator=random)
    b = torch.randn(400, 512, generator=random)
    exact = a.double() @ b.double().T
    products = [a @ b.T, a @ b.T.contiguous(), torch.bmm(a[None], b.T[None])[0]]
    return max(float((product - exact).abs().max()) for product in products)
