"""What tuning may see under each protocol, and which tasks the numbers come from."""

import pytest

from hcl.config import ConfigError, TrialConfig
from hcl.training.process import Runtime
from hcl.training.trial_state import load_benchmark
from sweeps.comparison.protocol import Protocol, Settings, confirmed, parse_protocol, searched

DIGITS = {"benchmark/name": "split_digits", "benchmark/val_fraction": 0.2}
PERMUTED = {"benchmark/name": "permuted_digits", "benchmark/val_fraction": 0.2}
LISTED = {**DIGITS, "benchmark/class_order": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]}


def classes(settings: Settings, seed: int = 101) -> list[tuple[int, ...]]:
    """The classes of each task in one training, by the benchmark itself."""
    config = TrialConfig.from_dict({**settings, "method/name": "finetune", "seed": seed})
    return [task.labels for task in load_benchmark(config, Runtime()).tasks]


def pixels(settings: Settings, seed: int) -> list[tuple[int, ...]]:
    """The order of pixels of each permuted task; none where they are as they were."""
    config = TrialConfig.from_dict({**settings, "method/name": "finetune", "seed": seed})
    orders = [task.train.permutation for task in load_benchmark(config, Runtime()).tasks]
    return [() if order is None else tuple(order.tolist()) for order in orders]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("full", "full"),
        ({"first_tasks": 2}, "first_tasks 2"),
        ({"disjoint_tasks": 2}, "disjoint_tasks 2"),
        ({"transfer": "permuted_digits"}, "transfer permuted_digits"),
    ],
)
def test_a_protocol_has_a_name(value: object, name: str) -> None:
    errors: list[str] = []
    assert str(parse_protocol(value, errors)) == name and not errors


def test_full_tunes_on_all_tasks_and_runs_them_in_fresh_orders() -> None:
    assert searched(DIGITS, Protocol()) == DIGITS
    orders = [
        classes(confirmed(DIGITS, Protocol(), "shuffled", seed), seed) for seed in (101, 102)
    ]
    assert orders[0] != orders[1] and all(len(tasks) == 5 for tasks in orders)
    assert confirmed(DIGITS, Protocol(), "fixed", 101) == DIGITS
    listed = classes(confirmed(LISTED, Protocol(), "shuffled", 101))
    assert sorted(sum(listed, ())) == list(range(10)) != list(sum(listed, ()))


def test_first_tasks_tunes_on_the_beginning_and_runs_the_whole() -> None:
    first = Protocol("first_tasks", tasks=2)
    assert classes(searched(DIGITS, first)) == [(0, 1), (2, 3)]
    assert classes(searched(LISTED, first)) == [(9, 8), (7, 6)]
    sizes = {**DIGITS, "benchmark/classes_per_task": [4, 3, 3]}
    assert classes(searched(sizes, first)) == [(0, 1, 2, 3), (4, 5, 6)]
    assert len(classes(confirmed(DIGITS, first, "shuffled", 101))) == 5


@pytest.mark.parametrize("benchmark", [DIGITS, LISTED])
@pytest.mark.parametrize("orders", ["shuffled", "fixed"])
def test_disjoint_tasks_never_runs_a_class_that_it_tuned_on(
    benchmark: Settings, orders: str
) -> None:
    disjoint = Protocol("disjoint_tasks", tasks=2)
    tuned = set(sum(classes(searched(benchmark, disjoint)), ()))
    found = [
        classes(confirmed(benchmark, disjoint, orders, seed), seed)  # type: ignore[arg-type]
        for seed in (101, 102)
    ]
    for tasks in found:
        run = set(sum(tasks, ()))
        assert len(tasks) == 3 and not run & tuned and len(run | tuned) == 10
    assert (found[0] == found[1]) == (orders == "fixed")


def test_disjoint_permutations_are_others() -> None:
    disjoint = Protocol("disjoint_tasks", tasks=2)
    tuned = pixels(searched(PERMUTED, disjoint), 1)
    run = pixels(confirmed(PERMUTED, disjoint, "shuffled", 101), 101)
    assert (len(tuned), len(run)) == (2, 5) and not set(tuned) & set(run)
    with pytest.raises(ConfigError, match="with other seeds than 42"):
        confirmed(PERMUTED, disjoint, "shuffled", 42)


def test_transfer_tunes_elsewhere() -> None:
    transfer = Protocol("transfer", benchmark="permuted_digits")
    assert searched(DIGITS, transfer) == PERMUTED
    assert len(classes(confirmed(DIGITS, transfer, "shuffled", 101))) == 5


def test_what_cannot_be_divided_or_shuffled_is_refused() -> None:
    cifar = {"benchmark/name": "cifar_6"}
    with pytest.raises(ConfigError, match="cifar_6 has no order of tasks to shuffle"):
        confirmed(cifar, Protocol(), "shuffled", 101)
    disjoint = Protocol("disjoint_tasks", tasks=2)
    for settings in (cifar, {**DIGITS, "benchmark/class_order": "shuffled"}):
        with pytest.raises(ConfigError, match="cannot be divided"):
            confirmed(settings, disjoint, "fixed", 101)
