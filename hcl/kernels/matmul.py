"""Matrix products: which kernel computes them, and how those of several replicas are batched."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

# Largest error of a sum of 512 standard normal products: float32 stays below 2e-4, bfloat16 and
# TF32 inputs come to 1e-2 and more.
FLOAT32_ERROR = 1e-3
# Multiplications in a product from which oneDNN is faster than torch's default, although it takes
# longer to start.
ONEDNN_FROM = 2_000_000
# Multiplications in one replica's product, from which the call itself costs next to nothing.
LARGE = 100_000


@contextmanager
def fastest_float32() -> Iterator[None]:
    """Let oneDNN multiply float32 matrices inside the block, where it does so in full precision.

    torch's default is MKL, which on AMD processors leaves AVX-512 unused: oneDNN is 2.2 times as
    fast there. torch asks oneDNN only if bfloat16 arithmetic is allowed, and then oneDNN uses
    bfloat16 on processors that have tiles for it (AMX). On these the block changes nothing. The
    precision of products is checked, not the processor's name.
    """
    if not _is_exact():
        yield
        return
    with _bfloat16_allowed(), _attention_in_large_products():
        yield


def _attention_in_large_products() -> AbstractContextManager[None]:
    """Compute attention as batched products.

    torch's fused attention multiplies each head of each image by itself, and starting oneDNN so
    often makes it 11 to 16 times as slow (64 images of 17 patches, 3 heads). Batched products
    keep the attention weights in memory. A GPU keeps its fused attention: the choice of kernels
    is one for all devices.
    """
    return nullcontext() if torch.cuda.is_available() else sdpa_kernel(SDPBackend.MATH)


@cache
def _is_exact() -> bool:
    """Say if products keep float32's precision when oneDNN may choose another."""
    has_setting = _onednn() is not None  # torch 2.9 and later
    if not (has_setting and torch.backends.mkldnn.is_available()):
        return False
    random = torch.Generator().manual_seed(0)
    with _bfloat16_allowed():
        return all(_error(rows, random) < FLOAT32_ERROR for rows in (1, 32, 256))


def _onednn() -> Any:
    """Give torch's settings for products by oneDNN; None in versions that have none."""
    return getattr(torch.backends.mkldnn, "matmul", None)


class ProductsOfSize:
    """A context in which small matrices are multiplied by torch's default, not by oneDNN.

    oneDNN takes some 15 us to start. Nothing changes outside of `fastest_float32`, for large
    products, or on a GPU. The same object can be entered again.

    Args:
        work: multiplications of one product inside.
    """

    def __init__(self, work: int) -> None:
        self.is_small = work < ONEDNN_FROM

    def __enter__(self) -> None:
        setting = _onednn()
        self.changes = self.is_small and setting is not None and setting.fp32_precision == "bf16"
        if self.changes:
            setting.fp32_precision = "none"

    def __exit__(self, *error: object) -> None:
        if self.changes:
            _onednn().fp32_precision = "bf16"


def product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Compute a @ b, as fast for a batch of R products as for one.

    Args:
        a: (n, m), or (R, n, m).
        b: (m, p), or (R, m, p).
        out: where to write the result.
    """
    if a.ndim < 3 or len(a) < 2 or not is_large(a, b):
        return torch.matmul(a, b, out=out)
    if out is None:
        out = a.new_empty(len(a), a.shape[1], b.shape[-1])
    each = b if b.ndim == 3 else [b] * len(a)
    for one in zip(a, each, out, strict=True):
        torch.mm(one[0], one[1], out=one[2])
    return out


def is_large(a: Tensor, b: Tensor) -> bool:
    """Say if the products of R replicas, (R, ..., n, m) and (R, m, p), are faster one by one.

    On the CPU a batched product first copies operands that are transposed or parts of others.
    """
    work = a[0].numel() * b.shape[-1]
    return a.device.type == "cpu" and work > LARGE


def bfloat16_product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Compute a @ b with factors and result rounded to bfloat16; the hardware sums in float32."""
    a, b = a.bfloat16(), b.bfloat16()
    if out is not None and out.dtype == torch.bfloat16:
        return torch.matmul(a, b, out=out)
    found = a @ b
    return found.float() if out is None else out.copy_(found)


def replica_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a layer to x (A, B, n), or R layers to x (R, A, B, n), each to its own part."""
    if weight.ndim == 2:
        return linear(x, weight, bias)
    if is_large(x, weight.mT):
        biases = bias if bias is not None else [None] * len(x)
        return torch.stack([linear(*one) for one in zip(x, weight, biases, strict=True)])
    hidden = torch.bmm(x.flatten(1, 2), weight.mT).unflatten(1, x.shape[1:3])
    return hidden if bias is None else hidden + bias[:, None, None]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute x @ weight' + bias, of (..., n), (m, n), (m,).

    Large layers that are not differentiated through are one pass over the result on the CPU:
    torch would write the bias first and then add the product. oneDNN could apply a ReLU in the
    same pass, but its ReLU turns NaN into 0, which would hide that training has diverged.
    """
    parts = (x, weight) if bias is None else (x, weight, bias)
    is_differentiated = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
    is_large = x.numel() * len(weight) >= ONEDNN_FROM
    # A part of another weight would be packed element by element, a hundred times slower.
    is_dense = x.is_contiguous() and weight.is_contiguous()
    kind = (x.device.type, x.dtype)
    is_possible = is_large and is_dense and kind == ("cpu", torch.float32)
    if is_possible and not is_differentiated and _is_fused():
        return _fused(x, weight, bias)
    return F.linear(x, weight, bias)


def _fused(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Call an operation that is private to torch, which is why `_is_fused` checks it."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


@cache
def _is_fused() -> bool:
    """Say if torch has this operation, and computes it rightly and in float32."""
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
    setting = _onednn()
    before = setting.fp32_precision
    try:
        setting.fp32_precision = "bf16"
        yield
    finally:
        setting.fp32_precision = before


def _error(rows: int, random: torch.Generator) -> float:
    """Measure the largest error of products of some layouts against float64."""
    a = torch.randn(rows, 512, generator=random)
    b = torch.randn(400, 512, generator=random)
    exact = a.double() @ b.double().T
    products = [a @ b.T, a @ b.T.contiguous(), torch.bmm(a[None], b.T[None])[0]]
    return max(float((product - exact).abs().max()) for product in products)
