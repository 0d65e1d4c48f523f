"""Sequences over data of one's own: rotated, chained, cut already; validation parts; numbers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given as for_all
from hypothesis import strategies as st
from tiny import errors_of, go, settings_it_has

import hcl
from hcl.benchmarks import digits, load
from hcl.benchmarks.arrays import Benchmark
from hcl.benchmarks.sequences.rotated import rotate
from hcl.config import ConfigError, TrialConfig, plugins
from hcl.config.methods import METHOD_CONFIGS
from hcl.storage.files import DataError
from hcl.training.trial_state import load_benchmark

IMAGES = torch.tensor(digits.load()["x_test"][:20])


def own(data: Any, sequence: str, **more: Any) -> TrialConfig:
    values = {
        "benchmark/data": data,
        "benchmark/sequence": sequence,
        "method/name": "finetune",
        "target/hidden_sizes": [8],
        "train/iterations": 30,
        "train/batch_size": 16,
        "train/lr": 0.02,
    }
    return TrialConfig.from_dict({**values, **{k.replace("__", "/"): v for k, v in more.items()}})


def cut(numbers: bool = False, **sizes: int) -> dict[str, np.ndarray]:
    """Arrays of three tasks with 2, 3 and 2 classes; `sizes`: samples of each class in a split."""
    classes_of = [["a", "b"], ["b", "c", "d"], ["c", "e"]]
    found: dict[str, np.ndarray] = {}
    for split, each in {"train": 12, "test": 4, **sizes}.items():
        t, y = zip(*[(i, c) for i, own in enumerate(classes_of) for c in own * each], strict=True)
        x = np.random.RandomState(len(split)).randn(len(y), 6) / 4
        x[np.arange(len(y)), [ord(c) - ord("a") for c in y]] += 3
        order = np.random.RandomState(0).permutation(len(y))  # tasks are mixed in the file
        found |= {f"x_{split}": x[order], f"t_{split}": np.array(t)[order]}
        found[f"y_{split}"] = x[order, :2] if numbers else np.array(y)[order]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    np.savez(tmp_path / "cut.npz", **cut())
    np.savez(tmp_path / "cut_val.npz", **cut(val=3))
    np.savez(tmp_path / "numbers.npz", **cut(numbers=True))
    half = {k: v[: len(v) // 2] for k, v in digits.load().items() if k[0] == "x"}
    half |= {k: v[: len(v) // 2] % 3 for k, v in digits.load().items() if k[0] == "y"}
    np.savez(tmp_path / "three.npz", **half)
    with plugins.importable(tmp_path):
        yield tmp_path


# Rotated


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("side", [8, 5])
def test_quarter_turns_are_exact(quarters: int, side: int) -> None:
    images = IMAGES[:, None, :side, :side].expand(-1, 3, -1, -1)
    turned = rotate(images, 90 * quarters)
    expected = np.rot90(images.numpy(), quarters, axes=(2, 3))
    assert turned.dtype == torch.uint8 and np.array_equal(turned.numpy(), expected)


@for_all(st.floats(-720, 720), st.integers(2, 7), st.integers(2, 7))
def test_a_turn_is_bilinear_about_the_centre(degrees: float, height: int, width: int) -> None:
    """Compare with the formula, pixel by pixel; the sides need not be equal."""
    image = np.random.RandomState(0).rand(height, width).astype(np.float32)
    angle, expected = np.radians(degrees), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            x, y = column - (width - 1) / 2, row - (height - 1) / 2
            at_x = np.cos(angle) * x - np.sin(angle) * y + (width - 1) / 2
            at_y = np.sin(angle) * x + np.cos(angle) * y + (height - 1) / 2
            for i in range(height):
                for j in range(width):
                    near = max(0, 1 - abs(at_x - j)) * max(0, 1 - abs(at_y - i))
                    expected[row, column] += near * image[i, j]
    (found,) = rotate(torch.from_numpy(image)[None, None], degrees)[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_angles_are_listed_or_evenly_spaced() -> None:
    spaced = load(TrialConfig.from_dict({"benchmark/name": "rotated_digits"}).benchmark)
    listed = own("digits", "rotated", benchmark__angles=[0, 36, 72, 108, 144])
    assert listed.benchmark.name == "rotated_digits" and listed.benchmark.num_tasks == 5
    again = load(listed.benchmark)
    assert again.digest != spaced.digest
    for one, other in zip(spaced.tasks, again.tasks, strict=True):
        assert torch.equal(one.train.x, other.train.x) and torch.equal(one.train.y, other.train.y)
    assert torch.equal(spaced.tasks[0].test.x, torch.tensor(digits.load()["x_test"]).flatten(1))
    turned = rotate(torch.tensor(digits.load()["x_test"])[:, None], 108).flatten(1)
    assert torch.equal(spaced.tasks[3].test.x, turned)


def test_padding_comes_before_turning() -> None:
    """Nothing of an image is lost in a frame as wide as its diagonal."""
    made = load(
        own("digits", "rotated", benchmark__angles=[0, 45], benchmark__padding=3).benchmark
    )
    first, second = (task.test.x.double().sum(1) for task in made.tasks)
    assert made.input_shape == (14 * 14,)
    torch.testing.assert_close(first, second, rtol=0.05, atol=0)


def test_images_with_channels_are_turned(folder: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (12, 5, 7, 3)).astype(np.uint8)
    y = np.arange(12) % 3
    np.savez(folder / "colour.npz", x_train=pixels, y_train=y, x_test=pixels[:6], y_test=y[:6])
    made = load(own("colour.npz", "rotated", benchmark__angles=[0, 180]).benchmark)
    assert made.input_shape == (3, 5, 7) and made.classes_per_task == 3
    plain, turned = (task.train.x for task in made.tasks)
    assert torch.equal(turned, plain.flip(2, 3))


# Chained and given


def test_chained_data_sets_keep_their_own_classes(folder: Path) -> None:
    config = own(["digits", "three.npz"], "chained", benchmark__val_fraction=0.25)
    assert (config.benchmark.name, config.benchmark.num_tasks) == ("chained digits+three.npz", 2)
    assert TrialConfig.from_dict(config.to_dict()) == config
    made = load(config.benchmark)
    assert made.classes_per_task == (10, 3)
    assert [task.labels for task in made.tasks] == [tuple(range(10)), (0, 1, 2)]
    arrays = digits.load()
    kept = len(arrays["x_test"]) // 2
    assert torch.equal(made.tasks[1].test.x, torch.tensor(arrays["x_test"][:kept]).flatten(1))
    assert made.tasks[1].test.y.tolist() == (arrays["y_test"][:kept] % 3).tolist()


def test_tasks_that_are_cut_already(folder: Path) -> None:
    made = load(own("cut.npz", "given", benchmark__num_tasks=3).benchmark)
    assert made.classes_per_task == (2, 3, 2)
    assert [task.labels for task in made.tasks] == [(0, 1), (1, 2, 3), (2, 4)]
    arrays = cut()
    for task in made.tasks:
        for split in ("train", "test"):
            data, mine = getattr(task, split), arrays[f"t_{split}"] == task.task_id
            assert np.array_equal(data.x, arrays[f"x_{split}"][mine].astype(np.float32))
            named = ["abcde"[task.labels[label]] for label in data.y]
            assert named == arrays[f"y_{split}"][mine].tolist()
    fewer = load(own("cut.npz", "given", benchmark__num_tasks=2).benchmark)
    assert fewer.classes_per_task == (2, 3) and fewer.digest != made.digest


def test_a_validation_part_of_the_datas_own(folder: Path) -> None:
    arrays, given = cut(val=3), own("cut_val.npz", "given", benchmark__num_tasks=3)
    for task in load(given.benchmark).tasks:
        mine = arrays["t_val"] == task.task_id
        assert np.array_equal(task.val.x, arrays["x_val"][mine].astype(np.float32))
    (task,) = load(
        own(
            "cut_val.npz", "split", benchmark__num_tasks=1, benchmark__classes_per_task=5
        ).benchmark
    ).tasks
    assert len(task.val) == len(arrays["y_val"]) and len(task.train) == len(arrays["y_train"])
    result = go(own("cut_val.npz", "given", benchmark__num_tasks=3, train__plateau_patience=2))
    assert len(result.accuracy["val/task"][-1]) == 3
    without = own("cut.npz", "given", benchmark__num_tasks=3, train__plateau_patience=2)
    with pytest.raises(ConfigError, match=r"plateau_patience: watches validation data, which giv"):
        load_benchmark(without)


EVERY = [
    (["digits", "three.npz"], "chained", {}),
    ("cut_val.npz", "given", {"benchmark__num_tasks": 3}),
    ("three.npz", "rotated", {"benchmark__num_tasks": 2}),
    ("three.npz", "permuted", {"benchmark__num_tasks": 2}),
]


@pytest.mark.parametrize(("data", "sequence", "more"), EVERY, ids=[s for _, s, _ in EVERY])
def test_contract(folder: Path, data: Any, sequence: str, more: dict[str, Any]) -> None:
    benchmark, again = (load(own(data, sequence, **more).benchmark) for _ in range(2))
    assert isinstance(benchmark, Benchmark) and benchmark.digest == again.digest
    assert re.fullmatch(r"[0-9a-f]{16}", benchmark.digest)
    sizes = benchmark.classes_per_task
    for i, (task, other) in enumerate(zip(benchmark.tasks, again.tasks, strict=True)):
        size = sizes if isinstance(sizes, int) else sizes[i]
        assert task.task_id == i and len(task.labels) == size
        for split in ("train", "val", "test"):
            part = getattr(task, split)
            x, y = part.batch(torch.arange(len(part)))
            assert x.dtype == torch.float32 and y.dtype == torch.int64
            assert x.shape == (len(part), *benchmark.input_shape)
            assert set(y.tolist()) <= set(range(size))
            assert torch.equal(part.x, getattr(other, split).x)
        assert sorted(set(task.test.y.tolist())) == list(range(size))


@pytest.mark.parametrize("method", ["hnet", "hnet_tir", "si", "er", "dgr"])
@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
@pytest.mark.parametrize(("data", "sequence", "more"), EVERY[:2], ids=["chained", "given"])
def test_tasks_of_other_sizes_are_learned(
    folder: Path, data: Any, sequence: str, more: dict[str, Any], scenario: str, method: str
) -> None:
    if scenario not in METHOD_CONFIGS[method].SCENARIOS:
        pytest.skip(METHOD_CONFIGS[method].WHY_NOT)
    small = settings_it_has(method, chunk_size=50, embedding_size=4, buffer_size=20)
    tiny = {"train__iterations": 3, "scenario": scenario, "method__name": method}
    config = own(data, sequence, **{**more, **small, **tiny})
    if (sequence, scenario) == ("given", "domain"):
        with pytest.raises(
            ConfigError, match=r"class 1 \(in sorted order\) is number 1 of task 0"
        ):
            load_benchmark(config)
        return
    result = go(config)
    learner = result.learner
    assert [len(row) for row in result.accuracy[f"test/{scenario}"]] == list(
        range(1, config.benchmark.num_tasks + 1)
    )
    shape = learner.input_shape
    answers = learner.predict(torch.zeros(2, *shape), 1 if scenario == "task" else None)
    assert answers.labels.shape == (2,)


# Numbers


@pytest.mark.parametrize("sequence", ["given", "permuted"])
def test_targets_that_are_numbers(folder: Path, sequence: str) -> None:
    """The first two features are to be found again; a network of two outputs does it."""
    more = {"benchmark__num_tasks": 2, "benchmark__targets": "numbers", "train__iterations": 300}
    config = own("numbers.npz", sequence, **more, method__name="from_scratch")
    result = hcl.run(config)
    scores = [result.metrics[f"test/task/mse/task_{i:02d}"] for i in range(2)]
    assert max(scores) < 0.2 and result.accuracy == {}
    test = load(config.benchmark).tasks[1].test
    x, y = test.batch(torch.arange(len(test)))
    found = result.learner.predict(x, 1)
    assert found.labels.shape == y.shape == (len(test), 2) and found.probabilities is None
    assert (found.labels - y).square().mean().item() == pytest.approx(scores[1], rel=1e-5)


# What is refused


def changed(**arrays: Any) -> dict[str, np.ndarray]:
    merged = {**cut(val=3), **arrays}
    return {key: value for key, value in merged.items() if value is not None}


T, Y = cut()["t_train"], cut()["y_train"]
BAD_ARRAYS: list[tuple[dict[str, Any], str]] = [
    ({"y_val": None}, "has no y_val; it needs x_train"),
    ({"t_test": None}, "has no t_test; it needs x_train, y_train, x_test, y_test, x_val, y_val"),
    ({"t_train": T[:-1]}, "t_train must be whole numbers (84,) but is int64 (83,)"),
    ({"t_train": T + 0.5}, "t_train must be whole numbers (84,) but is float64 (84,)"),
    ({"t_train": 2 * T}, "t_train has the tasks 0, 2, 4; number them 0, 1, 2, ... without a gap"),
    ({"t_test": 0 * cut()["t_test"]}, "t_train and t_test do not have the same tasks; one"),
    ({"y_val": np.full(21, "z")}, "y_val has the labels z, which y_train has not"),
    ({"x_val": np.zeros((21, 4))}, "have the shape (6,) and those of x_val (4,)"),
    ({"y_val": cut(val=3)["y_val"][:5]}, "x_val has 21 samples and y_val has 5 labels"),
    ({"y_train": np.where(T == 0, "a", Y)}, "task 0 has only one class; a task needs two"),
    (
        {"y_train": np.where(Y == "b", "c", Y), "y_test": np.full(28, "a"), "y_val": None,
         "x_val": None, "t_val": None},
        "task 1 has the classes 0 (in sorted order), which its y_train has not",
    ),
    ({"t_train": None, "t_test": None, "t_val": None}, "has no t_train and t_test, the task of"),
    ({"y_train": np.zeros(84)}, "set benchmark/targets to numbers for a regression"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "words"), BAD_ARRAYS)
def test_bad_arrays_are_one_sentence(folder: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(folder / "bad.npz", **changed(**arrays))
    with pytest.raises(ConfigError) as caught:
        load(own("bad.npz", "given", benchmark__num_tasks=3).benchmark)
    (message,) = caught.value.errors
    assert words in message and "\n" not in message, message


@pytest.mark.parametrize(
    ("data", "sequence", "more", "words"),
    [
        ("cut.npz", "rotated", {}, "rotated takes images (N, H, W) or (N, H, W, C), but these"),
        (
            ["digits", "cut.npz"],
            "chained",
            {},
            "digits have the shape (8, 8) and those of cut.npz",
        ),
        ("cut.npz", "given", {"benchmark__num_tasks": 4}, "has 3 tasks (t_train) but got 4; set"),
        ("cut_val.npz", "given", {"benchmark__val_fraction": 0.1}, "of their own, x_val, but got"),
        ("numbers.npz", "given", {}, "y_train must be whole numbers or text (N,) but is float64"),
        ("cut.npz", "given", {"benchmark__targets": "numbers"}, "y_train must be numbers (N,) or"),
    ],
)
def test_data_that_do_not_fit(
    folder: Path, data: Any, sequence: str, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError) as caught:
        load(own(data, sequence, **{"benchmark__num_tasks": 2, **more}).benchmark)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sequence": "chained", "data": "digits"}, "data: chained takes a list of data sets but"),
        ({"sequence": "split", "data": ["digits", "mnist"]}, "data: split takes one data set but"),
        ({"sequence": "chained", "data": ["digits", "a"]}, "data: unknown data 'a'; use cifar10"),
        ({"sequence": "chained", "data": ["digits", 3]}, "data: and sequence must be names"),
        (
            {"sequence": "chained", "data": ["digits", "a.npz"], "num_tasks": 3},
            "num_tasks: must be the number of data sets, 2, but got 3; leave it out",
        ),
        (
            {"sequence": "given", "data": "a.npz", "classes_per_task": 2},
            "classes_per_task: every task has the classes of its samples but got 2; leave it out",
        ),
        ({"name": "split_digits", "angles": [3]}, "angles: split_digits rotates nothing but got"),
        (
            {"name": "rotated_digits", "angles": [3, 4], "num_tasks": 3},
            "angles: must list one angle for each of the 3 tasks but got [3.0, 4.0]",
        ),
        ({"name": "split_digits", "targets": "numbers"}, "targets: are for data of your own, not"),
        (
            {"sequence": "rotated", "data": "torchvision:KMNIST", "targets": "numbers"},
            "targets: torchvision:KMNIST has classes but got numbers; leave it out",
        ),
        (
            {"sequence": "split", "data": "a.npz", "targets": "numbers"},
            "sequence: split shares out classes, but benchmark/targets are numbers",
        ),
        (
            {"sequence": "given", "data": "a.npz", "class_order": "shuffled"},
            "class_order: the classes of a task of given a.npz cannot be chosen but got shuffled",
        ),
        ({"name": "rotated_digits", "order_seed": 3}, "order_seed: draws nothing in rotated_dig"),
    ],
)
def test_settings_that_no_data_make_right(values: dict[str, Any], words: str) -> None:
    messages = errors_of({"benchmark": values, "method/name": "from_scratch"})
    assert len(messages) == 1 and words in messages[0], messages
