"""The compression ratio from shapes is the trained trial's."""

from typing import Any

import pytest
import tiny
import torch

from hcl.benchmarks import load
from hcl.config.methods import METHOD_CONFIGS, HnetVaeConfig, HypernetConfig
from hcl.measure.needs import compression_ratio
from hcl.training.learner import run

KINDS = (HypernetConfig, HnetVaeConfig)
HYPERNETS = [name for name, kind in METHOD_CONFIGS.items() if issubclass(kind, KINDS)]
CASES: list[tuple[str, str | None, str, dict[str, Any]]] = [
    *((name, None, "split_digits", {}) for name in HYPERNETS),
    *(("hnet", scenario, "permuted_digits", {}) for scenario in ("task", "domain", "class")),
    ("hnet", None, "split_digits", {"method__chunk_size": 0, "method__hidden_sizes": []}),
]


def test_every_hypernetwork_method_is_here() -> None:
    assert {"hnet", "hnet_r", "hnet_tir"} <= set(HYPERNETS)


@pytest.mark.parametrize(("method", "scenario", "benchmark", "more"), CASES)
def test_the_ratio_is_known_before_training(
    method: str, scenario: str | None, benchmark: str, more: dict[str, Any]
) -> None:
    config = tiny.trial(method, scenario, benchmark, **more)
    shape = load(config.benchmark).input_shape
    before = torch.get_rng_state()
    ratio = compression_ratio(config, shape)
    assert torch.equal(before, torch.get_rng_state())
    assert ratio == run(config).metrics["compression_ratio"]


def test_nothing_is_allocated() -> None:
    # 10^6 x 500 numbers in the last layer alone: two gigabytes, were they real.
    config = tiny.trial(
        target__hidden_sizes=[1000, 1000], method__chunk_size=0, method__hidden_sizes=[500]
    )
    assert compression_ratio(config, (784,)) > 400
