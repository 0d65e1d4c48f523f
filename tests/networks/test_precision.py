"""`train/precision: bfloat16`: what rounds, and what stays float32."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import EVERY_CELL, batch, build, go, trial
from torch import nn

import hcl
from hcl import Replica, Result, Runtime, run_replicas
from hcl.config import TrialConfig
from hcl.networks.precision import Bfloat16

CELLS = [cell for cell in EVERY_CELL if cell[2] == "split_digits"]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def rounded(*args: str, **more: Any) -> TrialConfig:
    return trial(*args, train__precision="bfloat16", **more)


@pytest.mark.parametrize(("method", "scenario", "benchmark"), CELLS)
def test_every_method_trains_and_keeps_float32(method: str, scenario: str, benchmark: str) -> None:
    more = {"train__iterations": 40, "target__hidden_sizes": [32]}
    exact = go(trial(method, scenario, benchmark, **more))
    result = go(rounded(method, scenario, benchmark, **more))
    floats = [t for t in result.learner.method.state_dict().values() if torch.is_tensor(t)]
    assert all(t.dtype != torch.bfloat16 for t in floats)
    name = f"test/{scenario}"
    assert result.accuracy[name][0][0] == pytest.approx(exact.accuracy[name][0][0], abs=0.05)
    given, other = (
        r.learner.predict(torch.rand(4, 64), task=0 if scenario == "task" else None).probabilities
        for r in (exact, result)
    )
    assert given is not None and other is not None and other.dtype == torch.float32
    assert not torch.equal(given, other), "nothing was rounded"


@pytest.mark.parametrize("network", ["resnet32", "zenkenet", "mlp"])
def test_layers_compute_in_bfloat16_and_outputs_are_float32(network: str, tiny_root: Path,
                                                            monkeypatch: Any) -> None:  # fmt: skip
    monkeypatch.setenv("HCL_DATA", str(tiny_root))
    monkeypatch.setattr("hcl.networks.resnet32.BLOCKS", 1)
    sizes = {} if network == "mlp" else {"target__hidden_sizes": [] if "res" in network else [16]}
    config = rounded("finetune", None, "split_cifar10", target__network=network, **sizes)
    method, benchmark = build(config)
    seen: list[torch.dtype] = []
    for layer in method.network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(lambda _m, _x, y: seen.append(y.dtype))
    method.start_task(benchmark.tasks[0])
    method.train_step(*batch(benchmark, method, 0))
    assert seen and set(seen) == {torch.bfloat16}
    assert method.network(batch(benchmark, method, 0)[0]).dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in method.parameters())


def test_one_product_is_that_of_rounded_factors() -> None:
    layer = nn.Linear(64, 8)
    x = torch.randn(5, 64)
    w, b = layer.weight, layer.bias
    expected = (x.bfloat16() @ w.bfloat16().T + b.bfloat16()).float()
    Bfloat16().put_around(layer)
    torch.testing.assert_close(layer(x), expected, rtol=2**-7, atol=2**-7)
    assert not torch.equal(layer(x), torch.nn.functional.linear(x, w, b))


def test_an_error_inside_ends_autocast() -> None:
    layer = nn.Linear(4, 2)
    Bfloat16().put_around(layer)
    with pytest.raises(RuntimeError):
        layer(torch.rand(3, 5))
    assert not torch.is_autocast_enabled("cpu")
    assert layer(torch.rand(3, 4)).dtype == torch.float32


def test_it_is_part_of_a_result_and_an_interruption_changes_nothing(tmp_path: Path) -> None:
    config = rounded("hnet")
    assert config.digest() != trial("hnet").digest()
    whole = go(config, tmp_path / "a", every=2)
    start = hcl.run(config, runtime=Runtime(threads=1, checkpoint_dir=tmp_path / "b"),
                    first_tasks=1)  # fmt: skip
    assert start.learner.tasks and go(config, tmp_path / "b").accuracy == whole.accuracy


def test_a_network_taken_out_is_plain() -> None:
    network = go(rounded("hnet")).learner.module(0)
    assert not network._forward_pre_hooks and next(network.parameters()).dtype == torch.float32


def test_seeds_trained_together_are_rounded_too() -> None:
    configs = [rounded("hnet", seed=seed) for seed in (1, 2)]
    together = run_replicas([Replica(config) for config in configs], Runtime(threads=1))
    for config, result in zip(configs, together, strict=True):
        assert isinstance(result, Result)
        for name, rows in go(config).accuracy.items():
            for mine, alone in zip(result.accuracy[name], rows, strict=True):
                assert mine == pytest.approx(alone, abs=0.05)
