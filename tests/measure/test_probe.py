"""The time that a trial would take, estimated before it is trained."""

from pathlib import Path

import pytest

from hcl.config import TrialConfig
from hcl.config.methods import METHOD_CONFIGS
from hcl.measure.probe import probe
from hcl.training.process import Runtime


def _config(method: str, iterations: int) -> TrialConfig:
    scenario = METHOD_CONFIGS[method].SCENARIOS[0]
    return TrialConfig.from_dict(
        {
            "benchmark/name": "split_digits",
            "scenario": scenario,
            "method/name": method,
            "target/hidden_sizes": [10],
            "train/iterations": iterations,
        }
    )


@pytest.mark.parametrize("method", METHOD_CONFIGS)
def test_every_method_can_be_estimated(method: str) -> None:
    assert 0 < probe(_config(method, 10)).seconds < 600


def test_the_estimate_is_for_all_steps_of_all_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcl.measure.probe._step_seconds", lambda trial, batches: 0.5)
    assert probe(_config("finetune", 20)).seconds == 0.5 * 20 * 5


def test_tasks_between_follow_and_larger_ones_take_longer(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hcl.measure.probe._step_seconds", lambda trial, _: 1.0 + trial.method.task_id
    )
    config = TrialConfig.from_dict(
        {
            "benchmark/name": "cifar_6",
            "benchmark/num_tasks": 3,
            "method/name": "joint",
            "target/hidden_sizes": [],
            "train/epochs": 2,
            "train/batch_size": 8,
        }
    )
    # Forty samples more with each task, two passes over all of them.
    found = probe(config, Runtime(data_root=tiny_root)).seconds
    assert found == 2 * (5 * 1 + 10 * 2 + 15 * 3)
