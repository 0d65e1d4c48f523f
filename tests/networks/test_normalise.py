"""Normalised images: by the network, whatever the method keeps, replays, augments or exports."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, batch, build, errors_of, go, learn, trial
from torch import Tensor

import hcl
from hcl.benchmarks import load
from hcl.config import TrialConfig
from hcl.config.methods import METHOD_CONFIGS
from hcl.methods import METHODS, Setup
from hcl.methods.er import ER
from hcl.methods.hnet import Hnet
from hcl.methods.replay import Replay
from hcl.networks.normalise import Normalise
from hcl.networks.target import TargetNetwork
from hcl.scenario import make_layout

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # the authors' cifar10_data.py
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "resnet32": {"target__hidden_sizes": []},
    "zenkenet": {},
    "squeezenet1_1": {"target__hidden_sizes": []},
}


@pytest.fixture(autouse=True)
def small(tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("HCL_DATA", str(tiny_root))
    monkeypatch.setattr("hcl.networks.resnet32.BLOCKS", 1)


def images(method: str = "hnet", scenario: str | None = None, **more: Any) -> TrialConfig:
    values = {"benchmark__normalise": "imagenet", "train__batch_size": 4, **more}
    return trial(method, scenario, "split_cifar10", **values)


def by_hand(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(v)[:, None, None] for v in IMAGENET)
    return (x - mean) / std


def test_the_statistics_are_those_of_the_training_images() -> None:
    assert load(images().benchmark).pixel_statistics == IMAGENET
    assert load(images(benchmark__normalise="none").benchmark).pixel_statistics is None
    more = {"benchmark__normalise": "dataset", "benchmark__val_fraction": 0.25}
    benchmark = load(images(**more).benchmark)
    x = torch.cat([task.train.x for task in benchmark.tasks]).double() / 255
    assert len(x) == 3 * 6  # of eight images of a task, two are held out
    assert benchmark.pixel_statistics is not None
    mean, std = map(torch.tensor, benchmark.pixel_statistics)
    torch.testing.assert_close(mean.double(), x.mean((0, 2, 3)))
    torch.testing.assert_close(std.double(), x.std((0, 2, 3), correction=0))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_normalises_its_inputs(network: str) -> None:
    config = images("finetune", target__network=network, **NETWORKS[network])
    benchmark = load(config.benchmark)
    layout = make_layout(config, 3, 2)
    pairs = []
    for statistics in (None, benchmark.pixel_statistics):
        torch.manual_seed(0)
        setup = Setup(config, layout, benchmark.input_shape, pixel_statistics=statistics)
        pairs.append(setup.build_network().eval())
    plain, mine = pairs
    assert_same(dict(mine.state_dict()), dict(plain.state_dict()))
    x, _ = benchmark.tasks[0].test.batch(torch.arange(4))
    assert x.min() >= 0 and x.max() <= 1
    expected = plain(by_hand(x))
    torch.testing.assert_close(mine(x), expected)
    assert not plain._forward_pre_hooks and mine._forward_pre_hooks
    for kernels in ("fast", "plain"):
        target = TargetNetwork(mine, kernels=kernels)
        target.train(False)
        flat = torch.cat([p.detach().flatten() for p in mine.parameters()])
        torch.testing.assert_close(target(flat, x, target.initial_buffers), expected)


@pytest.mark.parametrize(
    ("method", "scenario"),
    [(name, scenario) for name, kind in METHOD_CONFIGS.items() for scenario in kind.SCENARIOS],
)
def test_every_method_learns_them(method: str, scenario: str) -> None:
    """The same as without the setting on images that come normalised, for those who can."""
    made, data = build(images(method, scenario, train__augment=True))
    for task_id in range(2):
        for losses in learn(made, data, task_id, steps=2):
            assert all(loss.isfinite() for loss in losses.values())
    made.eval()
    x, _ = data.tasks[0].test.batch(torch.arange(4))
    known = 0 if scenario == "task" else None
    mine = made.predict(x, known).logits
    if isinstance(made, Hnet) and known == 0:
        twin = METHODS[method](Setup(made.setup.config, made.layout, made.setup.input_shape))
        twin.load_state_dict(made.state_dict())
        torch.testing.assert_close(twin.eval().predict(by_hand(x), 0).logits, mine)


def test_what_is_kept_and_replayed_are_pixels() -> None:
    er, data = build(images("er"))
    assert isinstance(er, ER)
    learn(er, data, 0)
    raw = data.tasks[0].train.x
    assert all((raw == kept).flatten(1).all(1).any() for kept in er.buffer.kept_x)
    for name in ("hnet_r", "dgr"):
        replay, data = build(images(name))
        assert isinstance(replay, Replay) and replay.replay_model is not None
        learn(replay, data, 0)
        replay.start_task(data.tasks[1])
        pixels, _ = replay.replay_model.replay(6)
        assert pixels.min() >= 0 and pixels.max() <= 1


def test_screening_infers_the_same_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs below 0 never reach an 8-bit network: those that normalise are not screened."""
    monkeypatch.setattr("hcl.inference.screening.MIN_INPUTS", 4)
    monkeypatch.setattr("hcl.inference.screening.MIN_TASKS", 2)
    method, data = build(images(scenario="class"))
    assert isinstance(method, Hnet) and method.target.layer_sizes is None
    for task_id in range(2):
        learn(method, data, task_id)
    method.eval()
    x, _ = batch(data, method, 0)
    assert not method.networks.is_screened(x, 2)
    with torch.no_grad():
        heads = [method.predict(x, t).logits[:, method.layout.head(t)] for t in range(2)]
        entropies = [torch.distributions.Categorical(logits=head).entropy() for head in heads]
        task_ids = method.predict(x, None).task_ids
    assert_same(task_ids, torch.stack(entropies).argmin(0))


@pytest.mark.parametrize("method", ["hnet", "finetune", "from_scratch"])
def test_a_learner_takes_raw_images(method: str, tmp_path: Path) -> None:
    config = images(method, benchmark__normalise="dataset")
    learner = go(config).learner
    raw = load(config.benchmark).tasks[0].test.x
    answers = learner.predict(raw, 0)
    learner.save(tmp_path / "one.safetensors")
    again = hcl.load(tmp_path / "one.safetensors")
    assert_same(again.predict(raw, 0), answers)
    assert again.method.setup.pixel_statistics == learner.method.setup.pixel_statistics
    logits = again.module(0)(raw.float() / 255)
    torch.testing.assert_close(logits.softmax(1), answers.probabilities)


def test_batches_of_vectors_cannot_be_normalised() -> None:
    (error,) = errors_of({"benchmark/name": "split_mnist", "benchmark/normalise": "imagenet"})
    assert error == (
        "benchmark/normalise: split_mnist has no images with channels but got imagenet; leave it"
        " out"
    )


def test_a_normaliser_in_double_precision() -> None:
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(Normalise(*IMAGENET)(x), by_hand(x), check_dtype=False)
