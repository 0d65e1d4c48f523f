"""Batch norm's running statistics: one set per task or one for all, and who may have which."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, batch, errors_of, go, learn, settings_it_has, trial
from torch import Tensor
from torch.func import functional_call

from hcl.benchmarks import load
from hcl.benchmarks.arrays import Benchmark
from hcl.config import ConfigError, TrialConfig
from hcl.config.methods import METHOD_CONFIGS
from hcl.methods import METHODS, Method, Setup, make_method
from hcl.methods.finetune import Finetune
from hcl.methods.hnet import Hnet
from hcl.methods.replay import Replay
from hcl.results import Progress
from hcl.scenario import make_layout
from hcl.storage import checkpoint


@pytest.fixture(autouse=True)
def small_resnet(tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block per stage, for speed."""
    torch.set_num_threads(1)
    monkeypatch.setenv("HCL_DATA", str(tiny_root))
    monkeypatch.setattr("hcl.networks.resnet32.BLOCKS", 1)


def resnet_trial(method: str, scenario: str = "task", **more: Any) -> TrialConfig:
    values: dict[str, Any] = {"target__network": "resnet32", "target__hidden_sizes": [], **more}
    values |= settings_it_has(method, chunk_size=2000, fisher_samples=2, importance_samples=2)
    return trial(method, scenario, "split_cifar10", train__batch_size=4, **values)


def build(config: TrialConfig) -> tuple[Method, Benchmark]:
    benchmark = load(config.benchmark)
    layout = make_layout(config, len(benchmark.tasks), benchmark.classes_per_task)
    torch.manual_seed(0)
    return make_method(Setup(config, layout, benchmark.input_shape)), benchmark


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: t.clone() for key, t in tensors.items()}


def test_generated_networks_have_statistics_per_task() -> None:
    made, data = build(resnet_trial("hnet"))
    assert isinstance(made, Hnet)
    learn(made, data, 0)
    first = copied(made.statistics.of(0))
    assert first["norm.num_batches_tracked"] == 3
    learn(made, data, 1, steps=2)
    assert_same(copied(made.statistics.of(0)), first)
    second = made.statistics.of(1)
    assert second["norm.num_batches_tracked"] == 2  # begun anew
    assert not torch.equal(second["norm.running_mean"], first["norm.running_mean"])
    made.eval()
    x, _ = batch(data, made, 0)
    with torch.no_grad():
        expected = made.target(made.networks.weights(range(1))[0], x, first)
        assert torch.equal(made.predict(x, 0).logits, expected)
    assert_same(copied(made.statistics.of(0)), first)


def test_generated_networks_share_statistics_where_asked() -> None:
    made, data = build(resnet_trial("hnet", target__batch_norm="shared"))
    assert isinstance(made, Hnet)
    learn(made, data, 0)
    first = copied(made.statistics.of(0))
    learn(made, data, 1, steps=2)
    assert made.statistics.of(0) is made.statistics.of(1)
    assert made.statistics.of(0)["norm.num_batches_tracked"] == 5
    assert not torch.equal(made.statistics.of(0)["norm.running_mean"], first["norm.running_mean"])


@pytest.mark.parametrize(
    "method",
    [
        name
        for name, method in METHODS.items()
        if issubclass(method, Finetune) and "per_task" in METHOD_CONFIGS[name].BATCH_NORM
        if name != "xdg"  # its gates make a network of its own for every task
    ],
)
def test_an_ordinary_network_has_statistics_per_task(method: str) -> None:
    made, data = build(resnet_trial(method))
    assert isinstance(made, Finetune)
    learn(made, data, 0)
    first = copied(dict(made.network.named_buffers()))
    learn(made, data, 1)
    own = copied(dict(made.network.named_buffers()))
    assert not torch.equal(own["norm.running_mean"], first["norm.running_mean"])
    made.eval()
    x, _ = batch(data, made, 0)
    with torch.no_grad():
        past = functional_call(copy.deepcopy(made.network), first, (x,))
        assert torch.equal(made.predict(x, 0).logits, past)
        assert torch.equal(made.predict(x, 1).logits, made.network(x))
        assert not torch.equal(made.network(x), past)
    assert_same(copied(dict(made.network.named_buffers())), own)
    # Every task's statistics begin with the initial values.
    made.start_task(data.tasks[2])
    assert made.network.get_buffer("norm.num_batches_tracked") == 0
    assert not made.network.get_buffer("norm.running_mean").any()
    # The network that rehearsal asks has those of the task before.
    if isinstance(made, Replay):
        assert_same(made.previous["norm.running_mean"], own["norm.running_mean"])


def test_an_ordinary_network_has_one_set_where_asked() -> None:
    made, data = build(resnet_trial("finetune", target__batch_norm="shared"))
    assert isinstance(made, Finetune)
    for task_id in range(2):
        learn(made, data, task_id)
    assert made.network.get_buffer("norm.num_batches_tracked") == 6
    made.eval()
    x, _ = batch(data, made, 0)
    with torch.no_grad():
        assert torch.equal(made.predict(x, 0).logits, made.network(x))


def test_answering_for_rehearsal_is_no_training() -> None:
    """The network of a task ago answers without dropout and keeps its statistics."""
    made, data = build(resnet_trial("lwf"))
    learn(made, data, 0)
    made.start_task(data.tasks[1])
    made.train()
    before = copied(made.previous)
    made.train_step(*batch(data, made, 1))
    assert_same(made.previous, before)
    assert made.network.training


STATEFUL = [
    ("hnet", "task", "shared"),
    ("hnet", "class", "per_task"),
    ("finetune", "task", "per_task"),
    ("lwf", "task", "per_task"),
    ("online_ewc", "class", "shared"),
    ("joint", "class", "shared"),
    ("from_scratch", "task", "per_task"),
]


@pytest.mark.parametrize(("method", "scenario", "kept"), STATEFUL)
def test_resumed_equals_never_stopped(
    method: str, scenario: str, kept: str, tmp_path: Path
) -> None:
    config = resnet_trial(method, scenario, target__batch_norm=kept, train__iterations=4)

    def stop(progress: Progress) -> None:
        if progress.task_id == 2:
            raise KeyboardInterrupt

    steady, torn = tmp_path / "steady", tmp_path / "torn"
    straight = go(config, steady)
    with pytest.raises(KeyboardInterrupt):
        go(config, torn, 3, progress=stop)
    assert go(config, torn, 3).accuracy == straight.accuracy
    states = [checkpoint.load_latest(folder) for folder in (steady, torn)]
    for state in states:
        assert state is not None
        del state["seconds"], state["train_seconds"]
    assert_same(*states)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method/name": "joint"}, "joint cannot keep its statistics per_task; use shared"),
        (
            {"method/name": "from_scratch", "target/batch_norm": "shared"},
            "from_scratch cannot keep its statistics shared; use per_task",
        ),
        (
            {"method/name": "si", "scenario": "class"},
            "si does not know the task in the class scenario and cannot choose its statistics;",
        ),
        ({"target/batch_norm": "off"}, "must be one of per_task, shared but got 'off'"),
    ],
)
def test_a_method_that_cannot_keep_them_so_is_refused(values: dict[str, Any], words: str) -> None:
    (error,) = errors_of(
        {"benchmark/name": "split_cifar10", "target/network": "resnet32", **values}
    )
    assert error.startswith("target/batch_norm: ") and words in error


def test_networks_without_batch_norm_have_no_such_setting() -> None:
    with pytest.raises(ConfigError, match="target/batch_norm: mlp has no such setting"):
        trial("finetune", target__batch_norm="shared")
