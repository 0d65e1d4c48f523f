"""Sizes computed from shapes, against the tensors of real methods."""

from collections.abc import Iterator
from typing import Any

import pytest
from tiny import VARIANTS, build, learn, variant
from torch import Tensor

from hcl.benchmarks import load
from hcl.hypernets.output_regularizer import OutputRegularizer
from hcl.measure.estimate import estimate
from hcl.methods import Method
from hcl.methods.er import ER
from hcl.methods.ewc import EWC
from hcl.methods.replay import Replay
from hcl.methods.si import SI


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


def stored(*values: Any) -> int:
    """Bytes of all tensors in some values, shared storage once."""
    found = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
             for value in values for t in tensors(value)}  # fmt: skip
    return sum(found.values())


def kept(method: Method) -> int:
    """Bytes of what a method really holds on to."""
    values: list[Any] = []
    for part in method.modules():
        regularizer = getattr(part, "regularizer", None)
        if isinstance(regularizer, OutputRegularizer):
            is_subset = 0 < part.config.reg_tasks < part.task_id
            past = regularizer.past
            _ = past.kept_by_task if is_subset else past.kept  # made by the first step
            values += [regularizer.__dict__, past.__dict__]
        values += [getattr(part, "past_decoders", None)]
    if isinstance(method, EWC):
        values += [method.fishers, method.anchors]
    if isinstance(method, SI):
        values += [method.path_integral, method.importance, method.anchor]
    if isinstance(method, Replay):
        values += [method.previous]
    if isinstance(method, ER):
        values += [method.kept_x, method.kept_y]
    return stored(*values)


@pytest.mark.parametrize("name", VARIANTS)
def test_sizes_are_those_of_the_last_task(name: str) -> None:
    config = variant(name)
    method, benchmark = build(config)
    for task_id in range(2):
        learn(method, benchmark, task_id, steps=1)
    method.start_task(benchmark.tasks[2])
    method.train()
    found = estimate(config, benchmark)
    assert found.weight_bytes == sum(p.numel() * p.element_size() for p in method.parameters())
    assert found.compression_ratio == method.num_stored() / method.num_target_weights()
    # A mask of heads and a few sums are not counted.
    assert found.kept_bytes == pytest.approx(kept(method), rel=0.35 if "masked" in name else 0.1)
    assert found.peak_bytes > found.weight_bytes + found.optimizer_bytes + found.kept_bytes


@pytest.mark.parametrize("name", ["hnet", "si", "from_scratch", "hnet_tir", "hnet_r", "dgr"])
def test_moments_are_adams(name: str) -> None:
    config = variant(name)
    method, benchmark = build(config)
    for task_id in range(2):  # the last one trains no replay model
        learn(method, benchmark, task_id, steps=1)
    moments = sum(_moments(method.state_dict()))
    assert estimate(config, benchmark).optimizer_bytes == pytest.approx(moments, rel=0.02)


def _moments(value: Any) -> Iterator[int]:
    """Bytes of every optimizer's moments, wherever they are in a state."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("exp_avg", "exp_avg_sq", "first", "second"):
                yield sum(t.numel() * t.element_size() for t in tensors(item))
            else:
                yield from _moments(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _moments(item)


def test_nothing_is_allocated_for_a_large_network() -> None:
    config = variant("hnet", target__hidden_sizes=[60_000, 60_000], method__chunk_size=1_000_000)
    found = estimate(config, load(config.benchmark))
    assert found.target_weights > 3.6e9
    assert found.peak_bytes > 2 * 4 * 3.6e9
