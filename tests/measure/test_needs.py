"""Sizes computed from shapes, against the tensors of real methods."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny import VARIANTS, batch, build, learn, variant
from torch import Tensor, nn

from hcl.benchmarks import load
from hcl.kernels.fast_adam import FastAdam
from hcl.measure.needs import resource_needs
from hcl.methods import Method

# What a method holds beside its memory of the past: optimizers, random generators, settings.
OTHERS = (torch.optim.Optimizer, FastAdam, torch.Generator, nn.Parameter)


def held(value: Any, seen: dict[int, Any]) -> Iterator[Tensor]:
    """Every tensor that is reachable from a value through attributes and containers."""
    if isinstance(value, OTHERS) or id(value) in seen:
        return
    seen[id(value)] = value  # kept alive, so that no other object has its id
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from held(item, seen)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from held(item, seen)
    elif type(value).__module__.startswith("hcl.") or isinstance(value, nn.Module):
        yield from held(getattr(value, "__dict__", {}), seen)


def kept(method: Method) -> int:
    """Bytes that a method holds on to beside parameters, each storage once."""
    own = {p.untyped_storage().data_ptr() for p in method.parameters()}
    found = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held(method, {})
    }
    return sum(size for pointer, size in found.items() if pointer not in own)


@pytest.mark.parametrize("name", VARIANTS)
def test_sizes_are_those_of_the_last_task(name: str) -> None:
    config = variant(name)
    method, benchmark = build(config)
    for task_id in range(2):
        learn(method, benchmark, task_id, steps=1)
    method.start_task(benchmark.tasks[2])
    method.train()
    method.train_step(*batch(benchmark, method, 2))  # the first step makes what later ones use
    found = resource_needs(config, benchmark)
    assert found.weight_bytes == sum(p.numel() * p.element_size() for p in method.parameters())
    assert found.compression_ratio == method.num_stored() / method.num_target_weights()
    # A mask of heads and a few sums are not counted.
    assert found.kept_bytes == pytest.approx(kept(method), rel=0.35 if "masked" in name else 0.1)
    assert found.peak_bytes > found.weight_bytes + found.optimizer_bytes + found.kept_bytes


@pytest.mark.parametrize("name", VARIANTS)
def test_moments_are_adams(name: str) -> None:
    config = variant(name)
    method, benchmark = build(config)
    for task_id in range(2):  # the last one trains no replay model
        learn(method, benchmark, task_id, steps=1)
    moments = sum(_moments(method.state_dict()))
    assert resource_needs(config, benchmark).optimizer_bytes == pytest.approx(moments, rel=0.02)


def _moments(value: Any) -> Iterator[int]:
    """Bytes of every optimizer's moments, wherever they are in a state."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("exp_avg", "exp_avg_sq", "first", "second"):
                yield sum(t.nbytes for t in held(item, {}))
            else:
                yield from _moments(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _moments(item)


def test_nothing_is_allocated_for_a_large_network() -> None:
    config = variant("hnet", target__hidden_sizes=[60_000, 60_000], method__chunk_size=1_000_000)
    found = resource_needs(config, load(config.benchmark))
    assert found.target_weights > 3.6e9
    assert found.peak_bytes > 2 * 4 * 3.6e9
