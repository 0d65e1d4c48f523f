"""Benchmarks: the data of their tasks, on the digits and a tiny MNIST."""

import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hcl.benchmarks import SEQUENCES, SOURCES, load
from hcl.benchmarks import digits as digits_module
from hcl.benchmarks.arrays import Benchmark, TaskData
from hcl.benchmarks.files import RawArrays
from hcl.config import BENCHMARKS, BenchmarkConfig, ConfigError
from hcl.storage.files import DataError


def config(name: str, **changes: Any) -> BenchmarkConfig:
    return BenchmarkConfig(**{"name": name, **BENCHMARKS[name].defaults, **changes})


def everything(data: TaskData) -> tuple[torch.Tensor, torch.Tensor]:
    return data.batch(torch.arange(len(data), device=data.y.device))


def samples(data: TaskData) -> set[bytes]:
    return {image.numpy().tobytes() for image in data.x}


def assert_equal(one: Benchmark, other: Benchmark) -> None:
    assert one.digest == other.digest
    for a, b in zip(one.tasks, other.tasks, strict=True):
        for split in ("train", "val", "test"):
            x_a, y_a = everything(getattr(a, split))
            x_b, y_b = everything(getattr(b, split))
            assert torch.equal(x_a, x_b) and torch.equal(y_a, y_b)


def assert_same_tasks(one: Benchmark, other: Benchmark) -> None:
    assert_equal(replace(one, digest=""), replace(other, digest=""))


# Every benchmark; those of images have more to keep

IMAGES = [name for name, info in BENCHMARKS.items() if not info.is_regression]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_is_a_known_sequence_over_known_data(name: str) -> None:
    assert BENCHMARKS[name].sequence in SEQUENCES
    assert set(BENCHMARKS[name].sources) <= SOURCES.keys()


@pytest.mark.parametrize("name", IMAGES)
def test_contract(name: str, tiny_root: Path) -> None:
    benchmark = load(config(name, val_fraction=0.25), tiny_root)
    assert benchmark.name == name
    assert re.fullmatch(r"[0-9a-f]{16}", benchmark.digest)
    assert [task.task_id for task in benchmark.tasks] == list(range(config(name).num_tasks))
    assert len(benchmark.input_shape) == (3 if BENCHMARKS[name].has_images else 1)
    labels = list(range(benchmark.classes_per_task))
    for task in benchmark.tasks:
        for data in (task.train, task.val, task.test):
            x, y = everything(data)
            assert data.x.dtype == torch.uint8
            assert x.dtype == torch.float32 and y.dtype == torch.int64
            assert x.shape == (len(data), *benchmark.input_shape)
            assert x.min() >= 0 and 0.9 < x.max() <= 1
            assert set(y.tolist()) <= set(labels)
        assert sorted(set(task.test.y.tolist())) == labels


@pytest.mark.parametrize("name", BENCHMARKS)
def test_same_config_gives_the_same_data(name: str, tiny_root: Path) -> None:
    wanted = config(name, val_fraction=0.25)
    assert_equal(load(wanted, tiny_root), load(wanted, tiny_root))


@pytest.mark.parametrize("name", IMAGES)
def test_digest_changes_with_every_setting(name: str, tiny_root: Path) -> None:
    base = config(name, num_tasks=3, val_fraction=0.25)
    others = [
        replace(base, num_tasks=2),
        replace(base, padding=3),
        replace(base, val_fraction=0.5),
        replace(base, seed=7),
    ]
    digests = {load(c, tiny_root).digest for c in (base, *others)}
    assert len(digests) == len(others) + 1


@pytest.mark.parametrize("name", BENCHMARKS)
def test_validation_and_training_data_are_disjoint_and_exhaustive(
    name: str, tiny_root: Path
) -> None:
    whole = load(config(name), tiny_root)
    parts = load(config(name, val_fraction=0.25), tiny_root)
    for before, after in zip(whole.tasks, parts.tasks, strict=True):
        assert len(before.val) == 0
        assert len(after.val) == round(0.25 * len(before.train))
        assert len(after.train) + len(after.val) == len(before.train)
        assert samples(after.train) | samples(after.val) == samples(before.train)
        assert torch.equal(after.test.x, before.test.x)


def test_no_image_is_both_in_training_and_validation(tiny_root: Path) -> None:
    # Tiny MNIST is random noise, so equal pixels mean the same image.
    for task in load(config("split_mnist", val_fraction=0.25), tiny_root).tasks:
        assert not samples(task.train) & samples(task.val)


def test_moving_keeps_values_digest_and_sharing(tiny_root: Path) -> None:
    benchmark = load(config("permuted_mnist"), tiny_root)
    moved = benchmark.to(torch.device("cpu"))
    assert_equal(benchmark, moved)
    on_meta = benchmark.to("meta")
    assert on_meta.digest == benchmark.digest
    assert len({id(task.train.x) for task in on_meta.tasks}) == 1


# Permuted


def test_task_0_is_unpermuted_and_padded_all_round(
    tiny_root: Path, tiny_arrays: RawArrays
) -> None:
    benchmark = load(config("permuted_mnist"), tiny_root)
    assert benchmark.input_shape == (1024,)
    x, y = everything(benchmark.tasks[0].train)
    images = x.reshape(-1, 32, 32)
    original = torch.from_numpy(tiny_arrays["x_train"]).to(torch.float32) / 255
    assert torch.equal(images[:, 2:-2, 2:-2], original)
    assert images.count_nonzero() == original.count_nonzero()
    assert y.tolist() == tiny_arrays["y_train"].tolist()


def test_each_later_task_has_one_permutation_of_all_pixels() -> None:
    tasks = load(config("permuted_digits", num_tasks=6, val_fraction=0.1)).tasks
    assert tasks[0].train.permutation is None
    orders = [task.train.permutation for task in tasks[1:]]
    for task, order in zip(tasks[1:], orders, strict=True):
        assert order is not None
        assert sorted(order.tolist()) == list(range(64))
        assert task.val.permutation is order and task.test.permutation is order
        plain, _ = everything(tasks[0].test)
        assert torch.equal(everything(task.test)[0], plain[:, order])
    assert len({tuple(order.tolist()) for order in orders if order is not None}) == 5


def test_all_permuted_tasks_share_one_copy_of_the_pixels() -> None:
    tasks = load(config("permuted_digits", val_fraction=0.1)).tasks
    for split in ("train", "val", "test"):
        assert len({getattr(task, split).x.data_ptr() for task in tasks}) == 1
        assert len({getattr(task, split).y.data_ptr() for task in tasks}) == 1


def test_a_permutation_does_not_depend_on_the_number_of_tasks() -> None:
    few, many = (load(config("permuted_digits", num_tasks=n)).tasks[2] for n in (3, 50))
    assert torch.equal(everything(few.test)[0], everything(many.test)[0])


def test_another_seed_permutes_differently() -> None:
    one, other = (load(config("permuted_digits", seed=s)).tasks[1].test for s in (1, 2))
    assert not torch.equal(everything(one)[0], everything(other)[0])


# Split


@given(st.integers(2, 10), st.data())
def test_split_covers_its_classes_in_order(classes_per_task: int, data: st.DataObject) -> None:
    num_tasks = data.draw(st.integers(1, 10 // classes_per_task))
    wanted = config("split_digits", num_tasks=num_tasks, classes_per_task=classes_per_task)
    benchmark = load(wanted)
    labels = np.sort(digits_module.load()["y_train"])
    found = [t.train.y.numpy() + t.task_id * classes_per_task for t in benchmark.tasks]
    assert np.array_equal(
        np.sort(np.concatenate(found)), labels[labels < num_tasks * classes_per_task]
    )


def test_split_tasks_hold_exactly_the_images_of_their_classes() -> None:
    arrays = digits_module.load()
    for task in load(config("split_digits")).tasks:
        first = 2 * task.task_id
        mask = np.isin(arrays["y_test"], (first, first + 1))
        assert np.array_equal(task.test.x.numpy(), arrays["x_test"][mask].reshape(-1, 64))
        assert np.array_equal(task.test.y.numpy() + first, arrays["y_test"][mask])


def test_split_tasks_together_are_one_copy_of_the_pixels() -> None:
    tasks = load(config("split_digits", val_fraction=0.2)).tasks
    stored = sum(d.x.untyped_storage().nbytes() for t in tasks for d in (t.train, t.val, t.test))
    assert stored == 1797 * 64


def test_an_image_keeps_its_side_of_the_validation_split_in_a_shorter_sequence() -> None:
    short, full = (
        load(config("split_digits", num_tasks=n, val_fraction=0.2)).tasks[1] for n in (2, 5)
    )
    assert torch.equal(short.val.x, full.val.x)


# Orders


def test_a_list_of_classes_gives_every_task_its_next_ones() -> None:
    arrays, order = digits_module.load(), (7, 2, 0, 9, 4, 3)
    benchmark = load(config("split_digits", num_tasks=3, class_order=order))
    for task in benchmark.tasks:
        wanted = order[2 * task.task_id : 2 * task.task_id + 2]
        mask = np.isin(arrays["y_test"], wanted)
        assert np.array_equal(task.test.x.numpy(), arrays["x_test"][mask].reshape(-1, 64))
        assert [wanted[label] for label in task.test.y] == arrays["y_test"][mask].tolist()


def test_a_shuffled_order_is_drawn_from_its_seed_alone() -> None:
    """These orders are recorded numbers: another generator would be another benchmark."""
    expected = {1: (6, 9, 4, 0, 2, 1, 7, 5, 8, 3), 2: (2, 0, 3, 7, 6, 8, 5, 9, 1, 4)}
    for seed, order in expected.items():
        shuffled = config("split_digits", class_order="shuffled", order_seed=seed)
        listed = load(config("split_digits", class_order=order))
        for benchmark in (load(shuffled), load(replace(shuffled, seed=7), trial_seed=5)):
            assert_same_tasks(benchmark, listed)
    by_default = load(config("split_digits", class_order="shuffled", seed=2))
    assert_same_tasks(by_default, load(config("split_digits", class_order=expected[2])))
    few = load(config("split_digits", num_tasks=2, class_order="shuffled", order_seed=1))
    listed = load(config("split_digits", num_tasks=2, class_order=expected[1][:4]))
    assert_same_tasks(few, listed)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("split_digits", {"class_order": "shuffled", "val_fraction": 0.2}),
        ("permuted_digits", {"first_task_permuted": True}),
    ],
)
def test_an_order_follows_the_trials_seed_where_asked(name: str, changes: dict[str, Any]) -> None:
    following = config(name, order_seed="trial", **changes)
    one, two = (load(following, trial_seed=seed) for seed in (1, 2))
    for seed, benchmark in ((1, one), (2, two)):
        assert_same_tasks(benchmark, load(config(name, order_seed=seed, **changes)))
    images, _ = everything(one.tasks[0].test)
    others, _ = everything(two.tasks[0].test)
    assert images.shape != others.shape or not torch.equal(images, others)
    # All seeds of a configuration are records of one: their digest is the same.
    assert one.digest == two.digest != load(config(name, order_seed=1, **changes)).digest


def test_a_first_task_may_be_permuted_too() -> None:
    plain = load(config("permuted_digits", num_tasks=3)).tasks
    moved = load(config("permuted_digits", num_tasks=3, first_task_permuted=True)).tasks
    order = moved[0].train.permutation
    assert order is not None and sorted(order.tolist()) == list(range(64))
    assert torch.equal(everything(moved[0].test)[0], everything(plain[0].test)[0][:, order])
    for one, other in zip(plain[1:], moved[1:], strict=True):
        assert torch.equal(everything(one.test)[0], everything(other.test)[0])


def test_an_order_reads_the_classes_that_it_names(tiny_root: Path) -> None:
    order = (99, *range(9))
    benchmark = load(config("split_cifar100", num_tasks=1, class_order=order), tiny_root)
    assert sorted(set(benchmark.tasks[0].test.y.tolist())) == list(range(10))


# Digits


def test_digits_are_split_80_20_by_class_and_scaled_to_bytes() -> None:
    from sklearn.datasets import load_digits

    arrays = digits_module.load()
    labels, counts = np.unique(load_digits().target, return_counts=True)
    _, test_counts = np.unique(arrays["y_test"], return_counts=True)
    assert test_counts.tolist() == [round(0.2 * n) for n in counts]
    pixels = np.concatenate([arrays["x_train"], arrays["x_test"]])
    assert pixels.shape == (1797, 8, 8)
    assert (pixels.min(), pixels.max(), len(np.unique(pixels))) == (0, 255, 17)
    assert labels.tolist() == list(range(10))


def test_digests_of_digits_are_the_same_on_every_machine() -> None:
    assert load(config("split_digits")).digest == "3824a3887eab6940"
    assert load(config("permuted_digits", val_fraction=0.1)).digest == "8e0aa90b4f5fa0e4"


# What is refused


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("split_mnist", {"num_tasks": 6}, "benchmark/num_tasks: .* 6 tasks of 2 .* need 12"),
        ("split_digits", {"num_tasks": 2, "classes_per_task": 6}, "need 12; set it to 1 or less"),
        ("permuted_mnist", {"classes_per_task": 5}, "benchmark/classes_per_task: .* got 5"),
        ("permuted_digits", {"padding": 33}, "benchmark/padding: .* got 33"),
        ("cifar_6", {"num_tasks": 7}, "benchmark/num_tasks: cifar_6 has 6 tasks but got 7"),
        ("cifar_6", {"classes_per_task": 5}, "every task of cifar_6 has 10 classes but got 5"),
        ("split_mnist", {"class_order": (1, 2)}, "class_order: must list 10 .* got \\[1, 2\\]"),
        ("split_mnist", {"class_order": (*range(9), 0)}, "must list 10 different classes, for 5"),
        ("split_mnist", {"class_order": tuple(range(1, 11))}, "classes 0 to 9 but got 10"),
        ("permuted_mnist", {"class_order": "shuffled"}, "class_order: .* got shuffled; leave it"),
        (
            "cifar_6",
            {"class_order": (0, 1)},
            "class_order: .* cifar_6 cannot be .* got \\[0, 1\\]",
        ),
        ("split_mnist", {"order_seed": "trial"}, "order_seed: draws nothing .* got trial; leave"),
        ("toy_regression", {"order_seed": 3}, "order_seed: draws nothing in toy_regression"),
        (
            "split_mnist",
            {"first_task_permuted": True},
            "first_task_permuted: .* permutes no pixels",
        ),
        ("split_cifar100", {"num_tasks": 21, "classes_per_task": 5}, "100 classes .* need 105"),
    ],
)
def test_limits_are_refused_in_one_sentence(
    name: str, changes: dict[str, Any], words: str
) -> None:
    errors = config(name, **changes).check()
    assert len(errors) == 1
    assert re.search(words, errors[0]) and "\n" not in errors[0]
    with pytest.raises(ConfigError, match=words):
        load(config(name, **changes))


def test_unknown_benchmark_suggests_the_known_one() -> None:
    broken = BenchmarkConfig(**{**asdict(config("split_mnist")), "name": "split_mnits"})
    with pytest.raises(ConfigError, match="did you mean split_mnist"):
        load(broken)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_defaults_and_any_number_of_permutations_are_fine(name: str) -> None:
    assert config(name).check() == []
    if BENCHMARKS[name].sequence == "permuted":
        assert config(name, num_tasks=250).check() == []


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_a_validation_fraction_that_empties_a_part_is_refused(
    fraction: float, tiny_root: Path
) -> None:
    with pytest.raises(DataError, match=f"benchmark/val_fraction: {fraction} of the 8 training"):
        load(config("split_mnist", val_fraction=fraction), tiny_root)


def test_limits_need_neither_torch_nor_numpy() -> None:
    script = (
        "import sys, hcl.config;"
        "sys.exit(bool({'torch', 'torchvision', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
