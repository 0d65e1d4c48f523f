"""The example of a pretrained vision transformer: its method, its scripts, its page."""

import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from tiny_images import tiny_cifar
from torch import Tensor

from hcl import seeding
from hcl.benchmarks import cifar, load
from hcl.config import ConfigError, TrialConfig, flatten, plugins
from hcl.hypernets.hypernet import Hypernet
from hcl.hypernets.initial import initialise_
from hcl.measure.contract import check_method
from hcl.networks import build_network
from hcl.networks.generated import Generated
from hcl.networks.given_weights import put_into
from hcl.training.learner import Runtime, run
from hcl.training.trial_state import start_trial

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "vit_lora"
TINY = {
    "benchmark/name": "split_digits",
    "benchmark/num_tasks": 2,
    "target/hidden_sizes": [8],
    "method/name": "lora_per_task:LoraPerTask",
    "method/rank": 2,
    "train/iterations": 30,
    "train/batch_size": 16,
    "train/lr": 0.01,
}


@pytest.fixture(autouse=True)
def folder() -> Iterator[None]:
    with plugins.importable(FOLDER):
        yield


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with images of noise; the working folder is empty."""
    np.savez(tmp_path / cifar.CIFAR10.npz, **tiny_cifar(10))  # type: ignore[arg-type]
    np.savez(tmp_path / cifar.CIFAR100.first_npz, **tiny_cifar(50))  # type: ignore[arg-type]
    monkeypatch.setenv("HCL_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.timeout(120)
def test_the_method_keeps_the_contract() -> None:
    found = list(check_method(str(TINY["method/name"])))
    assert len(found) == 5 and not [one for one in found if one.problem]


def test_a_task_starts_with_the_given_network_and_changes_nothing_else() -> None:
    config = TrialConfig.from_dict(TINY)
    with seeding.isolated(config.seed, "trial"):  # as `run` begins
        method = start_trial(config, Runtime(), None).method
    x = torch.rand(5, 64)
    with torch.no_grad():
        given = [method.network_weights(task) for task in (0, 1)]
        assert all(torch.equal(given[0][name], given[1][name]) for name in given[0])
        network = method.setup.build_network()
        network.load_state_dict(given[0])
        assert torch.equal(method.predict(x, 0).logits, network(x))
    learner = run(config).learner
    after = [learner.method.network_weights(task) for task in (0, 1)]
    biases = [name for name in after[0] if name.endswith("0.bias")]
    assert biases and all(torch.equal(after[0][n], given[0][n]) for n in biases)
    for weights in after:
        change = weights["0.weight"] - given[0]["0.weight"]
        assert 1 <= torch.linalg.matrix_rank(change, rtol=1e-4) <= 2


def test_the_first_task_stays_what_it_was() -> None:
    first = run(TrialConfig.from_dict(TINY), first_tasks=1).learner.method.network_weights(0)
    both = run(TrialConfig.from_dict(TINY)).learner.method.network_weights(0)
    assert all(torch.equal(first[name], both[name]) for name in first)


def test_stored_numbers_are_the_shared_ones_and_each_tasks_own() -> None:
    """A network 64-8-4: its first layer's matrix is changed, its last one is the heads."""
    result = run(TrialConfig.from_dict({**TINY, "train/iterations": 1}))
    shared, changes, head = 64 * 8 + 8, 2 * (64 + 8), 2 * (8 + 1)
    assert result.metrics["num_weights"] == shared + 2 * (changes + head)
    assert result.metrics["num_target_weights"] == 64 * 8 + 8 + 8 * 4 + 4


def test_steps_are_those_of_an_independent_loop() -> None:
    trial = start_trial(TrialConfig.from_dict(TINY), Runtime(), None)
    method, task = trial.method, trial.benchmark.tasks[0]
    parts = method.generated.unflatten(method.networks[0].changes.detach().clone())
    own = {name: part.clone().requires_grad_() for name, part in parts.items()}
    matrix, bias = (method.target.shared[f"0.{name}"].detach() for name in ("weight", "bias"))
    optimizer = torch.optim.Adam(own.values(), lr=0.01)

    def logits(x: Tensor) -> Tensor:
        hidden = F.linear(x, matrix + own["0.weight@up"] @ own["0.weight@down"], bias).relu()
        return F.linear(hidden, own["2.weight"], own["2.bias"])

    method.start_task(task)
    for start in range(0, 48, 16):
        x, y = task.train.batch(torch.arange(start, start + 16))
        loss = F.cross_entropy(logits(x)[:, :2], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        (found,) = method.train_step(x, y).values()
        assert torch.allclose(found, loss.detach(), atol=1e-6)
    x, _ = task.test.batch(torch.arange(20))
    with torch.no_grad():
        assert torch.allclose(method.predict(x, 0).logits, logits(x), atol=1e-5)


def test_running_statistics_are_refused(root: Path) -> None:
    settings = {**TINY, "benchmark/name": "split_cifar100", "target/network": "resnet18"}
    del settings["target/hidden_sizes"]
    with pytest.raises(ConfigError, match="keeps no running statistics"):
        start_trial(TrialConfig.from_dict(settings), Runtime(), None)


@pytest.mark.timeout(300)
def test_pretraining_and_the_table(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["pretrain.py"], ["compare.py", "--seeds", "2", "--iterations", "2"]):
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(str(FOLDER / words[0]), run_name="__main__")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(lines) == 6 and len({line.count("|") for line in lines}) == 1
    assert all(re.search(r"\| \d+\.\d\d ± \d+\.\d\d \|", line) for line in lines[1:])


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "lora.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.timeout(120)
def test_the_pages_own_images_and_settings(tmp_path: Path) -> None:
    images = np.random.RandomState(0).randint(0, 256, (40, 60, 50, 3)).astype(np.uint8)
    for i, image in enumerate(images):
        split, label = ("train", "test")[i % 2], i // 2
        path = tmp_path / "birds" / split / f"class_{label:02d}" / f"{i}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(image).save(path)
    code = blocks("python")[1].replace("/data", str(tmp_path))
    (tmp_path / "my_images.py").write_text(code)
    with plugins.importable(tmp_path):
        settings = flatten(yaml.safe_load(blocks("yaml")[0]))
        settings |= {"benchmark/num_tasks": 2, "benchmark/val_fraction": 0}
        benchmark = load(TrialConfig.from_dict(settings).benchmark)
    assert benchmark.input_shape == (3, 224, 224)
    assert [len(task.train) for task in benchmark.tasks] == [10, 10]


@pytest.mark.timeout(60)
def test_torchvisions_weights_fit() -> None:
    """By names and shapes, on the meta device: nothing is downloaded."""
    from torchvision.models import vit_b_16

    settings = yaml.safe_load(blocks("yaml")[0])
    settings["benchmark"] = {"name": "split_cifar100"}
    config = TrialConfig.from_dict(settings)
    with torch.device("meta"):
        network = build_network(config.target, (3, 224, 224), 50)
        put_into(network, vit_b_16().state_dict(), 50)
        generated = Generated(network, config.to_dict()["method/generate"], 50)
    assert generated.num_parameters == 85_837_106
    assert 1.2e6 < generated.num_weights < 1.3e6


def test_changes_start_as_large_as_the_page_says() -> None:
    text = (ROOT / "docs" / "lora.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([\d, ]+) \| ([\d.]+) \| ([\d.]+) \|", text, re.MULTILINE)
    assert len(rows) == 4
    torch.manual_seed(0)
    shape = SimpleNamespace(hidden_sizes=(96, 192))
    generated = Generated(
        plugins.load("small_vit:small_vit")(shape, (3, 32, 32), 50), "lora(8)", 50
    )
    tensors = generated.tensors(generated.groups[0], 2.0)
    changed = [name for name in generated.shared if f"{name}@up" in generated.shapes]
    for chunk, hidden, *wanted in rows:
        sizes = tuple(map(int, hidden.split(",")))
        for init, ratio in zip(("xavier", "hyperfan"), wanted, strict=True):
            found = []
            for seed in range(5):
                torch.manual_seed(seed)
                hypernet = Hypernet(generated.num_weights, 32, 32, int(chunk), sizes, "relu")
                embeddings = torch.randn(5, 32)
                initialise_(hypernet, init, embeddings, tensors)
                weights = generated.weights(hypernet(embeddings).detach())
                for name in changed:
                    change = (weights[name] - generated.shared[name]).flatten(1).norm(dim=1)
                    found.append(float(change.mean() / generated.shared[name].norm()))
            assert sum(found) / len(found) == pytest.approx(float(ratio), abs=0.006)
