"""Matrix products: faster kernels, the same precision, and nothing left behind."""

import pytest
import torch

from hcl import products
from hcl.products import FLOAT32_ERROR, fastest_float32


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
    monkeypatch.setattr(products, "_is_exact", lambda: False)
    with fastest_float32():
        assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_the_setting_is_put_back_after_an_error() -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision
    with pytest.raises(RuntimeError), fastest_float32():
        raise RuntimeError
    assert torch.backends.mkldnn.matmul.fp32_precision == before
