"""The compression ratio from shapes is the trained trial's."""

from typing import Any

import pytest
import tiny
import torch

from hcl.benchmarks import load
from hcl.config import TrialConfig
from hcl.config.methods import METHOD_CONFIGS, HnetConfig
from hcl.measure.needs import compression_ratio
from hcl.training.learner import run

CASES: list[tuple[str, str | None, str, dict[str, Any]]] = [
    *((name, None, "split_digits", {}) for name in METHOD_CONFIGS),
    *(("hnet", scenario, "permuted_digits", {}) for scenario in HnetConfig.SCENARIOS),
    ("hnet", None, "split_digits", {"method__chunk_size": 0, "method__hidden_sizes": []}),
]


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


CLASSIFIER = 478_410  # split MNIST, MLP 400,400, ten outputs
TASK_NETWORK = 784 * 400 + 400 + 400 * 400 + 400 + 400 * 5 + 5


@pytest.mark.parametrize(
    ("method", "stored"),
    [
        ("hnet", 465_672),
        ("hnet_tir", 465_672 + TASK_NETWORK + 552_712),
        ("hnet_r", CLASSIFIER + 553_288),
        ("dgr", CLASSIFIER + 515_184),
        ("lwf", CLASSIFIER),
    ],
)
def test_all_that_predicts_and_replays_counts(method: str, stored: int) -> None:
    """Sizes on split MNIST, CL3, from the authors' settings: parts that other tests count too."""
    config = TrialConfig.from_dict({"method/name": method, "scenario": "class"})
    assert compression_ratio(config, (784,)) == stored / CLASSIFIER


def test_nothing_is_allocated() -> None:
    # 10^6 x 500 numbers in the last layer alone: two gigabytes, were they real.
    config = tiny.trial(
        target__hidden_sizes=[1000, 1000], method__chunk_size=0, method__hidden_sizes=[500]
    )
    assert compression_ratio(config, (784,)) > 400
