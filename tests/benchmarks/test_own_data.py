"""A user's own data: files, functions and sequences named in the settings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import errors_of, go

import hcl
from hcl.benchmarks import load
from hcl.config import BENCHMARKS, ConfigError, TrialConfig, plugins
from hcl.training.trial_state import load_benchmark

MODULE = """
import numpy as np

from hcl.benchmarks import load
from hcl.config import BenchmarkConfig


def table():
    draws = np.random.RandomState(0)
    x = draws.randn(60, 5)
    y = np.array(["cat", "dog", "owl"])[np.arange(60) % 3]
    return {"x_train": x[:40], "y_train": y[:40], "x_test": x[40:], "y_test": y[40:]}


def no_table():
    return 7


def digits_backwards(config, data_root):
    whole = load(BenchmarkConfig(name="split_digits", num_tasks=config.num_tasks))
    return whole


def nothing(config, data_root):
    return None
"""


def arrays(num_classes: int = 9, seed: int = 0) -> dict[str, np.ndarray]:
    """Features of 6 numbers that tell text labels apart."""
    draws = np.random.RandomState(seed)
    labels = np.array([f"class {i}" for i in range(num_classes)])
    found = {}
    for split, count in (("train", 20), ("test", 5)):
        y = np.arange(count * num_classes) % num_classes
        centres = np.random.RandomState(1).randn(num_classes, 6) * 3
        found[f"x_{split}"] = centres[y] + draws.randn(len(y), 6)
        found[f"y_{split}"] = labels[y]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    np.savez(tmp_path / "mine.npz", **arrays())
    (tmp_path / "streams.py").write_text(MODULE)
    with plugins.importable(tmp_path):
        yield tmp_path


def own(data: str = "mine.npz", sequence: str = "split", **more: Any) -> TrialConfig:
    values = {
        "benchmark/data": data,
        "benchmark/sequence": sequence,
        "method/name": "finetune",
        "target/hidden_sizes": [8],
        "train/iterations": 60,
        "train/lr": 0.02,
    }
    return TrialConfig.from_dict({**values, **{k.replace("__", "/"): v for k, v in more.items()}})


@pytest.mark.parametrize("name", [n for n, info in BENCHMARKS.items() if len(info.sources) == 1])
def test_a_pair_with_a_short_name_is_that_benchmark(name: str) -> None:
    info = BENCHMARKS[name]
    pair = {"benchmark": {"sequence": info.sequence, "data": info.sources[0]}}
    assert TrialConfig.from_dict(pair) == TrialConfig.from_dict({"benchmark/name": name})


def test_an_npz_of_features_and_text_labels(folder: Path) -> None:
    config = own(benchmark__classes_per_task=[4, 3, 2])
    values = config.to_dict()
    assert (values["benchmark/name"], values["benchmark/num_tasks"]) == ("split mine.npz", 3)
    assert TrialConfig.from_dict(values) == config
    made = load_benchmark(config)
    assert made.input_shape == (6,) and [task.labels for task in made.tasks] == [
        (0, 1, 2, 3), (4, 5, 6), (7, 8)
    ]  # fmt: skip
    names = made.class_names
    assert names == tuple(sorted(set(arrays()["y_train"].tolist()))) and isinstance(names[0], str)
    x, y = made.tasks[1].train.batch(torch.tensor([0, 1, 2]))
    assert np.array_equal(x.numpy(), arrays()["x_train"][4:7].astype(np.float32))
    assert y.tolist() == [0, 1, 2]
    result = go(config)
    assert result.accuracy["test/task"][0][0] > 0.8, "features are not divided by 255"
    assert result.data_digest == made.digest
    result.learner.save(folder / "mine.safetensors")
    for learner in (result.learner, hcl.load(folder / "mine.safetensors")):
        labels = learner.predict(x[:2], task=1).labels
        assert learner.name_labels(torch.tensor([0, 8])) == [names[0], names[8]]
        assert learner.name_labels(labels) == [names[label] for label in labels]
    np.savez(folder / "mine.npz", **arrays(seed=3))
    assert load_benchmark(config).digest != made.digest


def test_other_orders_and_permuted(folder: Path) -> None:
    order = [8, 7, 6, 5, 4, 3]
    made = load(own(benchmark__num_tasks=3, benchmark__class_order=order).benchmark)
    assert [task.labels for task in made.tasks] == [(8, 7), (6, 5), (4, 3)]
    permuted = load(own(sequence="permuted", benchmark__num_tasks=2).benchmark)
    assert permuted.classes_per_task == 9 and len(permuted.tasks) == 2
    first, second = (task.test.batch(torch.arange(45))[0] for task in permuted.tasks)
    assert not torch.equal(first, second)
    assert torch.equal(first.sort(1).values, second.sort(1).values)


def test_import_paths(folder: Path) -> None:
    config = own("streams:table", benchmark__num_tasks=1, benchmark__classes_per_task=3)
    assert len(config.code) == 12 and load(config.benchmark).input_shape == (5,)
    (folder / "streams.py").write_text(MODULE.replace("RandomState(0)", "RandomState(1)"))
    with plugins.importable(folder):
        pass
    own_sequence = own("", "streams:digits_backwards", benchmark__num_tasks=4)
    assert len(load(own_sequence.benchmark).tasks) == 4
    with pytest.raises(ConfigError, match=r"streams:nothing must make an hcl.*Benchmark of 5"):
        load(own("", "streams:nothing").benchmark)


def test_uint8_images_with_channels(folder: Path) -> None:
    pixels = np.arange(9 * 20 * 8 * 8 * 3).reshape(180, 8, 8, 3).astype(np.uint8)
    given = arrays()
    np.savez(folder / "mine.npz", x_train=pixels, y_train=given["y_train"], x_test=pixels[:45],
             y_test=given["y_test"])  # fmt: skip
    made = load_benchmark(
        own(target__network="zenkenet", target__hidden_sizes=[512], benchmark__num_tasks=4)
    )
    assert made.input_shape == (3, 8, 8)
    x, _ = made.tasks[0].train.batch(torch.tensor([1]))
    expected = torch.from_numpy(pixels[1]).permute(2, 0, 1) / 255
    assert torch.equal(x[0], expected)


def without(key: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays().items() if name != key}


BAD_ARRAYS: list[tuple[dict[str, Any], str]] = [
    (without("y_test"), "mine.npz has no y_test; it needs x_train, y_train, x_test, y_test"),
    ({**arrays(), "y_train": np.arange(7)}, "x_train has 180 samples and y_train has 7 labels"),
    ({**arrays(), "y_test": np.full(45, "elk")}, "y_test has the labels elk, which y_train"),
    ({**arrays(), "x_test": np.zeros((45, 7))}, "samples of x_train have the shape (6,)"),
    ({**arrays(), "x_test": np.full((45, 6), np.nan)}, "x_test has values that are no"),
    ({**arrays(), "y_test": np.zeros((45, 2))}, "y_test must be whole numbers or text"),
    ({**arrays(), "x_train": np.array(["a"] * 180)}, "x_train must be numbers of shape (N, feat"),
    ({**arrays(), "x_train": np.array([{}] * 180)}, "cannot be read as an .npz of plain arrays"),
]


@pytest.mark.parametrize(("given", "words"), BAD_ARRAYS)
def test_bad_arrays_are_one_sentence(folder: Path, given: dict[str, Any], words: str) -> None:
    np.savez(folder / "mine.npz", **given)
    with pytest.raises(ConfigError) as caught:
        load(own().benchmark)
    (message,) = caught.value.errors
    assert words in message and "\n" not in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "none.npz"}, "there is no none.npz in"),
        ({"data": "streams:no_table"}, "streams:no_table is no mapping; it needs x_train"),
        ({"data": "torchvision:Nothing"}, "torchvision has no data set 'Nothing'"),
        ({"benchmark__num_tasks": 6}, "mine.npz has 9 classes but 6 tasks need 12"),
        ({"benchmark__num_tasks": 1, "benchmark__class_order": [9, 1]}, "has classes 0 to 8 but"),
        ({"target__network": "resnet32", "target__hidden_sizes": []}, "takes images (N, H, W"),
        ({"train__augment": True}, "train/augment: split mine.npz has no images with channels"),
    ],
)
def test_data_that_do_not_fit(folder: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_benchmark(own(**{"benchmark__num_tasks": 4, **changes}))
    (message,) = caught.value.errors
    assert words in message, message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "mine"}, "unknown data 'mine'; use cifar10, cifar100, digits, mnist, a path"),
        ({"sequence": "splitt"}, "sequence: unknown sequence 'splitt'; use split, permuted, rot"),
        ({"sequence": "permuted", "data": "cifar10"}, "data: no tasks are made of 'cifar10' so"),
        ({"classes_per_task": [3, 1]}, "classes_per_task: must be >= 2 but got [3, 1]"),
        ({"classes_per_task": [3, 2], "num_tasks": 3}, "must list one number for each of the 3"),
        ({"sequence": "permuted", "classes_per_task": 2}, "every permuted task has all classes"),
        ({"name": "split_mnist"}, "name: 'split_mnist' is not 'split mine.npz'; leave it out"),
        ({"class_order": [1, 2, 3]}, "must list 10 different classes, for 5 tasks of 2, but got"),
    ],
)  # fmt: skip
def test_settings_that_no_data_make_right(changes: dict[str, Any], words: str) -> None:
    (message,) = errors_of({"benchmark": {"sequence": "split", "data": "mine.npz", **changes}})
    assert words in message, message
