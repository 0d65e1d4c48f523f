"""Matrix products: faster kernels, the same precision, and nothing left behind."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from hcl.kernels import matmul
from hcl.kernels.flat_mlp import run
from hcl.kernels.matmul import FLOAT32_ERROR, fastest_float32, linear


def _error() -> float:
    a, b = torch.randn(128, 512), torch.randn(512, 200)
    return float(((a @ b) - a.double() @ b.double()).abs().max())


def test_products_inside_the_block_are_float32() -> None:
    torch.manual_seed(1)
    with fastest_float32():
        assert _error() < FLOAT32_ERROR


def test_bfloat16_would_be_noticed() -> None:
    a, b = torch.randn(64, 512), torch.randn(512, 64)
    rough = (a.bfloat16() @ b.bfloat16()).double()
    assert (rough - a.double() @ b.double()).abs().max() > 10 * FLOAT32_ERROR


def test_inexact_kernels_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision
    monkeypatch.setattr(matmul, "_is_exact", lambda: False)
    with fastest_float32():
        assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_the_setting_is_put_back_after_an_error() -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision
    with pytest.raises(RuntimeError), fastest_float32():
        raise RuntimeError
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_attention_is_not_fused_where_each_product_would_start_onednn() -> None:
    q, k, v = torch.randn(3, 2, 3, 17, 8, dtype=torch.float64)
    fused = F.scaled_dot_product_attention(q, k, v)
    before = torch.backends.cuda.flash_sdp_enabled()
    with fastest_float32():
        is_fused = torch.backends.cuda.flash_sdp_enabled()
        torch.testing.assert_close(F.scaled_dot_product_attention(q, k, v), fused)
    assert is_fused == (before and (torch.cuda.is_available() or not matmul._is_exact()))
    assert torch.backends.cuda.flash_sdp_enabled() == before


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(2, 8), (700, 64), (7, 100, 64)], ids=["small", "large", "large, 3 dimensions"]
)
def test_a_layer_is_a_product_and_a_sum(shape: tuple[int, ...], has_bias: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(shape), torch.randn(50, shape[-1])
    bias = torch.randn(50) if has_bias else None
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    for part in (weight, torch.cat([weight, weight], dim=1)[:, : shape[-1]]):
        found = linear(x, part, bias)
        torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=FLOAT32_ERROR)


def test_a_large_layer_is_one_operation_where_torch_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, weight, bias = torch.randn(700, 64), torch.randn(50, 64), torch.randn(50)
    calls: list[Any] = []
    fused = matmul._fused

    def counted(*layer: Any) -> torch.Tensor:
        calls.append(layer)
        return fused(*layer)

    monkeypatch.setattr(matmul, "_fused", counted)
    linear(x, weight, bias)
    assert len(calls) == matmul._is_fused()
    calls.clear()
    linear(x[:2], weight, bias)  # small
    linear(x, torch.cat([weight, weight], dim=1)[:, :64], bias)  # a part of another
    linear(x.double(), weight.double(), bias.double())
    linear(x, weight.clone().requires_grad_(), bias).sum().backward()  # needs a gradient
    linear(x, weight, bias.clone().requires_grad_()).sum().backward()
    assert calls == []


@pytest.mark.parametrize("fault", [AttributeError, RuntimeError, TypeError, None])
def test_an_operation_that_fails_or_is_wrong_is_not_used(
    fault: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*layer: Any) -> torch.Tensor:
        if fault is None:
            return F.linear(*layer[:3]).bfloat16().float()
        raise fault

    monkeypatch.setattr(matmul, "_fused", broken)
    assert not matmul._is_fused.__wrapped__()


@pytest.mark.parametrize("part", range(3))
def test_nan_is_seen(part: int) -> None:
    """oneDNN's own ReLU turns NaN into 0, which would hide that training has diverged."""
    weight, bias, x = torch.randn(40, 512), torch.randn(40), torch.randn(200, 512)
    [weight, bias, x][part].view(-1)[3] = torch.nan
    layers = [(weight, bias), (torch.randn(4, 40), torch.zeros(4))]
    with fastest_float32():
        assert run(layers, x)[-1].isnan().any()
