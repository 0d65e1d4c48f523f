"""Protocols: what tuning may see, and which tasks the confirmed numbers come from.

full                    tune on validation data of the whole sequence
first_tasks: k          tune on its first k tasks, run on all: as good, at k / T of the cost
                        (arXiv 2404.06466)
disjoint_tasks: k       tune on k tasks, run on others (A-GEM, arXiv 1812.00420)
transfer: BENCHMARK     tune on another benchmark (arXiv 2403.09066)
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hcl.config import ConfigError, TrialConfig
from hcl.config.benchmark import BENCHMARKS, BenchmarkConfig
from hcl.config.schema import suggest

Settings = dict[str, Any]  # flat: {"benchmark/name": "split_mnist", ...}
Orders = Literal["shuffled", "fixed"]


@dataclass(frozen=True)
class Protocol:
    """Part of the tasks that tuning may see.

    Attributes:
        kind: full, first_tasks, disjoint_tasks or transfer.
        tasks: k of first_tasks and disjoint_tasks.
        benchmark: the one that transfer tunes on.
    """

    kind: str = "full"
    tasks: int = 0
    benchmark: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.benchmark or self.tasks or ''}".strip()


def parse_protocol(value: Any, errors: list[str]) -> Protocol:
    """Read `full`, `{first_tasks: 2}`, `{disjoint_tasks: 2}` or `{transfer: split_digits}`."""
    if value == "full":
        return Protocol()
    kind, argument = next(iter(value.items())) if _is_one_pair(value) else (value, None)
    if kind in ("first_tasks", "disjoint_tasks") and type(argument) is int and argument > 0:
        return Protocol(kind, tasks=argument)
    if kind == "transfer" and argument in BENCHMARKS:
        return Protocol(kind, benchmark=str(argument))
    if kind == "transfer":
        fix = suggest(str(argument), BENCHMARKS)
        errors.append(f"protocol.transfer: unknown benchmark {argument!r}{fix}")
    else:
        errors.append(
            f"protocol: must be full, {{first_tasks: 2}}, {{disjoint_tasks: 2}} or"
            f" {{transfer: split_digits}} but got {value!r}"
        )
    return Protocol()


def _is_one_pair(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) == 1


def searched(benchmark: Settings, protocol: Protocol) -> Settings:
    """Return the benchmark settings of the search.

    Args:
        benchmark: those of the whole sequence.
        protocol: what the search may see of it.

    Raises:
        ConfigError: the protocol does not fit the benchmark.
    """
    if protocol.kind == "transfer":
        kept = {k: v for k, v in benchmark.items() if k == "benchmark/val_fraction"}
        return {"benchmark/name": protocol.benchmark, **kept}
    if protocol.kind == "full":
        return benchmark
    config, k = _benchmark(benchmark), protocol.tasks
    if k >= config.num_tasks:
        raise ConfigError(
            f"protocol.{protocol.kind}: must be less than the {config.num_tasks} tasks of"
            f" {config.name} but got {k}"
        )
    if protocol.kind == "disjoint_tasks" and _is_permuted(config):
        return {**benchmark, "benchmark/num_tasks": k, "benchmark/first_task_permuted": True}
    return _part(benchmark, config, 0, k, _classes(config))


def confirmed(benchmark: Settings, protocol: Protocol, orders: Orders, seed: int) -> Settings:
    """Return the benchmark settings of the confirmation on one seed.

    With shuffled orders each seed has an order of its own, which all methods share.

    Args:
        benchmark: those of the whole sequence.
        protocol: what the search saw of it.
        orders: "shuffled" or "fixed".
        seed: of the training.

    Raises:
        ConfigError: the benchmark has no order to shuffle, or the protocol does not fit it.
    """
    config = _benchmark(benchmark)
    is_rest = protocol.kind == "disjoint_tasks"
    if _is_permuted(config):
        if is_rest and (orders == "fixed" or seed == config.choose_order_seed(-1)):
            raise ConfigError(
                "protocol.disjoint_tasks: permutations differ where their seeds do; set"
                f" confirmation.orders to shuffled, with other seeds than {seed}"
            )
        return benchmark | ({"benchmark/order_seed": "trial"} if orders == "shuffled" else {})
    classes = _classes(config)
    if is_rest:
        done = sum(config.sizes[: protocol.tasks])
        rest = _order(classes[done:], orders, seed)
        return _part(benchmark, config, protocol.tasks, config.num_tasks, [*classes[:done], *rest])
    if orders == "fixed":
        return benchmark
    if isinstance(config.class_order, tuple):
        return {**benchmark, "benchmark/class_order": _order(classes, orders, seed)}
    if not _can_shuffle(config):
        raise ConfigError(
            f"confirmation.orders: {config.name} has no order of tasks to shuffle; set it to fixed"
        )
    shuffled = {"benchmark/class_order": "shuffled", "benchmark/order_seed": "trial"}
    return {**benchmark, **shuffled}


def _benchmark(settings: Settings) -> BenchmarkConfig:
    return TrialConfig.from_dict({**settings, "method/name": "finetune"}).benchmark


def _is_permuted(config: BenchmarkConfig) -> bool:
    return "permuted" in (config.sequence, config.info.sequence)


def _can_shuffle(config: BenchmarkConfig) -> bool:
    return config.info.num_classes is not None or config.sequence == "split"


def _classes(config: BenchmarkConfig) -> list[int]:
    """List the classes in the order in which tasks take them."""
    if isinstance(config.class_order, tuple):
        return list(config.class_order)
    return list(range(sum(config.sizes)))


def _order(classes: Sequence[int], orders: Orders, seed: int) -> list[int]:
    drawn = list(classes)
    if orders == "shuffled":
        random.Random(seed).shuffle(drawn)
    return drawn


def _part(
    benchmark: Settings, config: BenchmarkConfig, start: int, stop: int, classes: Sequence[int]
) -> Settings:
    """Return the settings of the tasks from `start` to before `stop`; `classes` are all tasks'."""
    kept = {**benchmark, "benchmark/num_tasks": stop - start}
    if isinstance(config.classes_per_task, tuple):
        kept["benchmark/classes_per_task"] = list(config.classes_per_task[start:stop])
    if start and (config.class_order == "shuffled" or not _can_shuffle(config)):
        raise ConfigError(
            f"protocol.disjoint_tasks: the tasks of {config.name} cannot be divided: they need"
            " classes of their own, in the data's order or in a listed one"
        )
    if start or isinstance(config.class_order, tuple):
        first, last = sum(config.sizes[:start]), sum(config.sizes[:stop])
        kept["benchmark/class_order"] = list(classes[first:last])
    return kept
