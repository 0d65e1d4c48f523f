"""CIFAR: every form of the files gives the same tasks, one sentence reports any damage."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from tiny_images import tiny_cifar

from hcl import seeding
from hcl.benchmarks import load, prepared, sources
from hcl.benchmarks.augment import crop_and_flip
from hcl.benchmarks.cifar import CIFAR10, CIFAR100
from hcl.benchmarks.files import RawArrays
from hcl.config import BENCHMARKS, BenchmarkConfig
from hcl.config.methods import METHOD_CONFIGS
from hcl.results import TaskReport
from hcl.storage.files import DataError
from hcl.training.learner import run
from hcl.training.process import Runtime
from sweeps.output.sample_grid import save_samples


def config(name: str, **changes: Any) -> BenchmarkConfig:
    return BenchmarkConfig(**{"name": name, **BENCHMARKS[name].defaults, **changes})


def images_of(arrays: RawArrays, split: str, classes: range) -> set[bytes]:
    chosen = np.isin(arrays[f"y_{split}"], classes)
    return {image.transpose(2, 0, 1).tobytes() for image in arrays[f"x_{split}"][chosen]}


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    for kind in (datasets.CIFAR10, datasets.CIFAR100):
        monkeypatch.setattr(kind, "url", "http://127.0.0.1:9/x.tar.gz")  # nobody listens there


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a root with torchvision's files of tiny arrays, which count as the official ones."""
    from torchvision import datasets

    offline(monkeypatch)
    for data_set, key in ((CIFAR10, "labels"), (CIFAR100, "fine_labels")):
        arrays, kind = tiny_cifar(data_set.num_classes), getattr(datasets, data_set.kind)
        folder = tmp_path / data_set.folder
        folder.mkdir(parents=True)

        def write(name: str, content: Any, folder: Path = folder) -> tuple[str, str]:
            data = pickle.dumps(content)
            (folder / name).write_bytes(data)
            return name, hashlib.md5(data).hexdigest()

        lists = {}
        for split in ("train", "test"):
            pixels = arrays[f"x_{split}"].transpose(0, 3, 1, 2).reshape(-1, 3072)
            entry = {"data": pixels, key: arrays[f"y_{split}"].tolist()}
            lists[split] = write(f"{split}_batch", entry)
        names, md5 = write("meta", {"label_names": [], "fine_label_names": []})
        monkeypatch.setattr(kind, "train_list", [lists["train"]])
        monkeypatch.setattr(kind, "test_list", [lists["test"]])
        monkeypatch.setattr(kind, "meta", {**kind.meta, "filename": names, "md5": md5})
    return tmp_path


def test_cifar_6_is_cifar_10_and_then_fifty_classes_of_cifar_100(tiny_root: Path) -> None:
    benchmark = load(config("cifar_6"), tiny_root)
    assert benchmark.input_shape == (3, 32, 32)
    sources = [(tiny_cifar(10), 0), *((tiny_cifar(100), 10 * i) for i in range(5))]
    for task, (arrays, first) in zip(benchmark.tasks, sources, strict=True):
        for split in ("train", "test"):
            data = getattr(task, split)
            found = {image.numpy().tobytes() for image in data.x}
            assert found == images_of(arrays, split, range(first, first + 10))
            assert data.x.is_contiguous()
            assert sorted(set(data.y.tolist())) == list(range(10))


def test_a_label_stays_with_its_image(tiny_root: Path) -> None:
    arrays = tiny_cifar(100)
    known = {
        image.transpose(2, 0, 1).tobytes(): int(label)
        for image, label in zip(arrays["x_train"], arrays["y_train"], strict=True)
    }
    benchmark = load(config("split_cifar100", num_tasks=20, classes_per_task=5), tiny_root)
    assert len(benchmark.tasks) == 20
    for task in benchmark.tasks:
        for image, label in zip(task.train.x, task.train.y.tolist(), strict=True):
            assert known[image.numpy().tobytes()] == label + 5 * task.task_id


def test_channels_lie_together_in_a_batch(tiny_root: Path) -> None:
    """This order in memory is convolved faster; the numbers are the same."""
    data = load(config("split_cifar10"), tiny_root).tasks[0].train
    x, _ = data.batch(torch.tensor([2, 0]))
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, data.x[[2, 0]].float() / 255)
    draws = seeding.generator(1, "augment")
    assert crop_and_flip(x, draws).is_contiguous(memory_format=torch.channels_last)


def test_padding_is_black_and_all_round(tiny_root: Path) -> None:
    plain, padded = (load(config("split_cifar10", padding=p), tiny_root) for p in (0, 2))
    assert padded.input_shape == (3, 36, 36)
    x = padded.tasks[1].train.x
    assert torch.equal(x[:, :, 2:-2, 2:-2], plain.tasks[1].train.x)
    assert x.count_nonzero() == plain.tasks[1].train.x.count_nonzero()


def test_every_form_of_the_files_gives_the_same_tasks(official: Path, tmp_path: Path) -> None:
    """The forms: torchvision's, CIFAR-100 in another order, its first fifty classes alone."""
    roots = {name: tmp_path / name for name in ("whole", "part")}
    for name, root in roots.items():
        root.mkdir()
        ten, hundred = tiny_cifar(10), tiny_cifar(100)
        for arrays in (ten, hundred):
            for split in ("train", "test"):
                order = np.random.RandomState(3).permutation(len(arrays[f"y_{split}"]))
                if name == "part" and arrays is hundred:
                    order = order[arrays[f"y_{split}"][order] < 50]
                arrays[f"x_{split}"] = arrays[f"x_{split}"][order]
                arrays[f"y_{split}"] = arrays[f"y_{split}"][order]
        np.savez(root / CIFAR10.npz, **ten)
        np.savez(root / (CIFAR100.npz if name == "whole" else CIFAR100.first_npz), **hundred)
    wanted = config("cifar_6", val_fraction=0.25)
    digests = [load(wanted, root).digest for root in (official, *roots.values())]
    assert len(set(digests)) == 1
    wanted = config("split_cifar100", num_tasks=5, val_fraction=0.25)
    digests = [load(wanted, root).digest for root in (official, *roots.values())]
    assert len(set(digests)) == 1
    # What is prepared from torchvision's files is the same again.
    made = prepared.prepare("cifar_6", official)
    assert [(p.path.name, p.is_new) for p in made] == [(CIFAR10.npz, True), (CIFAR100.npz, True)]
    sources._read.cache_clear()
    assert load(config("cifar_6", val_fraction=0.25), official).digest == (
        load(config("cifar_6", val_fraction=0.25), roots["part"]).digest
    )
    # The smaller file will do where it is, and is left as it is.
    names = [(p.path.name, p.is_new) for p in prepared.prepare("cifar_6", roots["part"])]
    assert names == [(CIFAR10.npz, False), (CIFAR100.first_npz, False)]


def test_missing_and_offline_says_what_where_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    with pytest.raises(DataError) as caught:
        load(config("cifar_6"), tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for words in ("CIFAR-10 is missing", "cifar10.npz", str(tmp_path), "HCL_DATA", "refused"):
        assert words in message
    assert list(tmp_path.iterdir()) == []
    half = {k: v for k, v in tiny_cifar(50).items()}
    np.savez(tmp_path / CIFAR100.first_npz, **half)
    with pytest.raises(DataError, match="cifar100_first50.npz is there, but has 50 of the 100"):
        load(config("split_cifar100"), tmp_path)
    assert len(load(config("split_cifar100", num_tasks=5), tmp_path).tasks) == 5


def test_one_sentence_reports_a_damaged_file(official: Path) -> None:
    with (official / CIFAR10.folder / "test_batch").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match="is not the official CIFAR-10 .*; delete it") as caught:
        load(config("split_cifar10"), official)
    assert "\n" not in str(caught.value)
    (official / CIFAR10.npz).write_bytes(b"PK")
    with pytest.raises(DataError, match="cannot be read"):
        load(config("split_cifar10"), official)
    np.savez(
        official / CIFAR10.npz, **{**tiny_cifar(10), "x_test": np.zeros((20, 3, 32, 32), "u1")}
    )
    with pytest.raises(DataError, match=r"x_test must be uint8 of shape \(N, 32, 32, 3\)"):
        load(config("split_cifar10"), official)
    np.savez(official / CIFAR100.first_npz, **tiny_cifar(51))
    with pytest.raises(DataError, match=r"y_train must lie in 0..49 but holds 0..50"):
        load(config("split_cifar100", num_tasks=5), official)


@pytest.mark.timeout(60)
def test_prepared_files_need_no_torchvision(tiny_root: Path) -> None:
    script = """
import sys
sys.modules["torchvision"] = None  # importing it now fails
from hcl.benchmarks import load
from hcl.config import BenchmarkConfig
print(len(load(BenchmarkConfig("split_cifar10"), sys.argv[1]).tasks))
load(BenchmarkConfig("split_cifar10"), sys.argv[1] + "/empty")
"""
    command = [sys.executable, "-c", script, str(tiny_root)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout == "5\n"
    last = done.stderr.splitlines()[-1]
    assert "DataError: CIFAR-10 is missing" in last and "torchvision" in last


@pytest.mark.parametrize("method", METHOD_CONFIGS)
def test_every_method_learns_images(method: str, tiny_root: Path, tmp_path: Path) -> None:
    config = tiny.trial(method, benchmark="split_cifar10", train__iterations=2)
    reports: list[TaskReport] = []
    result = run(config, reports.append, runtime=Runtime(threads=1, data_root=tiny_root))
    assert [len(rows) for rows in result.accuracy.values()] == [3]
    for report in reports:
        if report.samples is not None:
            assert report.samples.shape[2:] == (3, 32, 32)
            assert save_samples(report.samples, tmp_path, report.tasks_learned).is_file()


@pytest.mark.mnist
@pytest.mark.timeout(180)
def test_real_cifar(cifar_root: Path) -> None:
    benchmark = load(config("cifar_6"), cifar_root)
    sizes = [(len(task.train), len(task.test)) for task in benchmark.tasks]
    assert sizes == [(50000, 10000), *[(5000, 1000)] * 5]
    assert benchmark.digest == "f0bd460e61afbe70"
    mean = benchmark.tasks[0].train.x.float().mean((0, 2, 3)) / 255
    assert mean.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
