"""The reference of the speed ratios computes the same steps as hcl."""

import sys

import pytest
import torch
import torchvision  # noqa: F401  takes seconds, so not within a test's time limit

from bench.large import Size, stepper
from bench.peak import step_gflop
from bench.steps import ours, steppers
from hcl.hypernets.hypernet import output_layer
from hcl.hypernets.plain import PlainHnet, Sizes

TINY = Sizes(12, (7, 6), 4, 3, 5, 4, 40, (6, 8), "elu", 0.1, 1e-3)


def theta_of(reference: PlainHnet) -> list[torch.Tensor]:
    """The reference's parameters in the order of `Hypernet.theta`."""
    *hidden, weight, bias = reference.theta
    return [*hidden, output_layer(weight, bias)]


@pytest.mark.parametrize("kernels", ["plain", "fast"])
@pytest.mark.parametrize("num_past", [0, 1, 3])
def test_reference_takes_the_same_steps(num_past: int, kernels: str) -> None:
    reference, method = PlainHnet(TINY, num_past), ours(TINY, num_past, kernels=kernels)
    learned = method.task_hypernet
    with torch.no_grad():
        for mine, theirs in zip(learned.hypernet.theta(), theta_of(reference), strict=True):
            mine.copy_(theirs)
        for task, embedding in enumerate(reference.embeddings):
            learned.embeddings[task].copy_(embedding)
    learned.start_task(num_past)  # takes the copied parameters' weights as targets
    draws = torch.Generator().manual_seed(0)
    for _ in range(4):
        x = torch.rand(16, TINY.inputs, generator=draws)
        y = torch.randint(TINY.classes, (16,), generator=draws)
        loss, penalty = reference.step(x, y)
        terms = method.train_step(x, y + num_past * TINY.classes)
        torch.testing.assert_close(terms["task"], loss, rtol=1e-4, atol=1e-6)
        if penalty is not None:
            torch.testing.assert_close(terms["regularizer"], penalty, rtol=1e-3, atol=1e-8)
    for mine, theirs in zip(learned.hypernet.theta(), theta_of(reference), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=2e-5)


@pytest.mark.timeout(120)  # one of its kernels is compiled
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("row", ["split:0", "split:2", "p10:3"])
def test_a_step_reads_nothing_back(
    row: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On meta tensors, which have no values, it is an error to read one back from the device.

    A tensor left on the CPU is an error too.
    """
    # On a GPU fused Adam keeps its step count there; meta tensors have no fused Adam.
    adam = sys.modules[torch.optim.Adam.__module__]
    monkeypatch.setattr(adam, "_get_value", lambda step: 1.0)
    name, past = row.split(":")
    for build in steppers(name, int(past), precision, device="meta").values():
        step = build()
        step()
        step()


def test_a_steps_products_are_counted() -> None:
    """The forward pass, the gradient for weights, and, except in the first layer, for inputs."""
    target = 128 * (4 * 784 * 400 + 6 * 400 * 400 + 6 * 400 * 10)
    generated = 12 * 42000 * 11 * 6  # chunks, their size, hidden units and bias
    assert step_gflop("split:0") == pytest.approx((target + generated) / 1e9, rel=0.02)


@pytest.mark.parametrize("generate", [None, "all", "lora(8)"])
def test_steps_of_large_networks(generate: str | None) -> None:
    step = stepper(Size("shufflenet_v2_x0_5", 32, 2, 50_000), generate)
    first = step()
    assert step() is not first
    if generate:
        assert isinstance(first, dict) and first.keys() == {"task", "regularizer"}
        assert all(value.isfinite() for value in first.values())
