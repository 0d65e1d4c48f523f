"""A replica gives what its trial alone gives, within float tolerance, whatever the others do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ITERATIONS, batch, build, go, trial, variant

from hcl import Result, TrainingDiverged, TrialConfig
from hcl.config import ConfigError
from hcl.kernels import matmul
from hcl.methods.hnet import Hnet
from hcl.replicas import Replica, run_replicas
from hcl.replicas.groups import group_replicas
from hcl.replicas.hnet_replicas import HnetReplicas
from hcl.results import Progress, TaskReport
from hcl.storage import checkpoint
from hcl.training.process import Runtime

BATCHED = ["hnet", "hnet-subset", "hnet-off", "hnet-masked", "hnet-unchunked"]
DIFFERENT: list[dict[str, Any]] = [
    {"seed": 1},
    {"seed": 2, "method/beta": 0.3},
    {"seed": 3, "train/lr": 0.003},
    {"seed": 4},
]


def seeds(*numbers: int, name: str = "hnet", **more: Any) -> list[TrialConfig]:
    return [variant(name, seed=seed, **more) for seed in numbers]


def together(configs: list[TrialConfig], **more: Any) -> list[Any]:
    return run_replicas([Replica(config, **more) for config in configs], Runtime(threads=1))


def methods_of(configs: list[TrialConfig]) -> tuple[list[Hnet], Any]:
    built = [build(config) for config in configs]
    return [method for method, _ in built if isinstance(method, Hnet)], built[0][1]


def assert_near(mine: Any, theirs: Any, rtol: float, atol: float) -> None:
    """Equal in structure, numbers within the tolerance."""
    assert type(mine) is type(theirs)
    if isinstance(mine, dict):
        assert mine.keys() == theirs.keys()
        for key in mine:
            assert_near(mine[key], theirs[key], rtol, atol)
    elif isinstance(mine, list | tuple):
        for a, b in zip(mine, theirs, strict=True):
            assert_near(a, b, rtol, atol)
    elif isinstance(mine, torch.Tensor) and mine.is_floating_point():
        torch.testing.assert_close(mine, theirs, rtol=rtol, atol=atol)
    elif not isinstance(mine, torch.Tensor):
        assert mine == theirs


@pytest.mark.parametrize("is_large", [False, True], ids=["batched", "one by one"])
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("name", BATCHED)
def test_steps_are_those_of_each_alone(
    name: str, count: int, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters, moments, random streams and losses agree; beta and learning rate differ."""
    smoothed = {"train/label_smoothing": 0.1}
    monkeypatch.setattr(matmul, "LARGE", -1 if is_large else 10**9)
    torch.set_default_dtype(torch.float64)
    try:
        configs = [variant(name, **smoothed, **different) for different in DIFFERENT[:count]]
        mine, benchmark = methods_of(configs)
        alone, _ = methods_of(configs)
        for task in benchmark.tasks:
            for method in [*mine, *alone]:
                method.start_task(task)
                method.train()
            shared = HnetReplicas(mine)
            for step in range(4):
                batches = [
                    batch(benchmark, method, task.task_id, 16 * step + i)
                    for i, method in enumerate(mine)
                ]
                xs, ys = zip(*batches, strict=True)
                losses = shared.train_step(torch.stack(xs), torch.stack(ys))
                for i, method in enumerate(alone):
                    expected = method.train_step(*batches[i])
                    assert_near({k: v[i] for k, v in losses.items()}, expected, 1e-8, 1e-12)
            shared.write_back()
            for one, other in zip(mine, alone, strict=True):
                assert_near(dict(one.state_dict()), dict(other.state_dict()), 1e-6, 1e-9)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("count", "scenario"), [(1, "task"), (2, "domain"), (4, "class")])
def test_results_are_those_of_each_alone(count: int, scenario: str, tmp_path: Path) -> None:
    configs = [trial("hnet", scenario, **{**d, "train/iterations": 12}) for d in DIFFERENT[:count]]
    rows: dict[int, list[TaskReport]] = {i: [] for i in range(count)}
    replicas = [
        Replica(config, rows[i].append, checkpoint_dir=tmp_path / f"replica_{i}")
        for i, config in enumerate(configs)
    ]
    found = run_replicas(replicas, Runtime(threads=1))
    for i, config in enumerate(configs):
        reports: list[TaskReport] = []
        expected = go(config, tmp_path / f"alone_{i}", report=reports.append)
        result = found[i]
        assert isinstance(result, Result)
        assert result.config == config.to_dict() and result.versions["replicas"] == str(count)
        # A borderline image may fall to the other side: one of at least 70.
        for name, matrix in expected.accuracy.items():
            for mine, theirs in zip(result.accuracy[name], matrix, strict=True):
                assert mine == pytest.approx(theirs, abs=0.015)
        assert [row.tasks_learned for row in rows[i]] == [row.tasks_learned for row in reports]
        assert [row.metrics.keys() for row in rows[i]] == [row.metrics.keys() for row in reports]
        states = [checkpoint.load_latest(tmp_path / f"{who}_{i}") for who in ("replica", "alone")]
        # Float32 products of a batch and of one are rounded apart, by how much depends on the
        # processor: after 36 steps by 1% of a step at most. The test above is in float64.
        assert_near(*(state and state["method"] for state in states), 1e-3, 1e-4)
        assert_near(*(state and state["random"] for state in states), 0, 0)


class Stop(Exception):
    """The process is killed here."""


def test_stopped_at_different_places_and_gone_on_with(tmp_path: Path) -> None:
    """One is in task 1, one in task 2, one has only begun; they end as if never stopped."""
    configs = seeds(1, 2, 3, name="hnet-subset")
    folders = [tmp_path / f"seed_{config.seed}" for config in configs]

    def stop(at: tuple[int, int]) -> Any:
        def progress(told: Progress) -> None:
            if (told.task_id, told.step) == at:
                raise Stop

        return progress

    for i, at in ((0, (1, ITERATIONS)), (1, (2, ITERATIONS))):
        with pytest.raises(Stop):
            go(configs[i], folders[i], every=4, progress=stop(at))
    replicas = [
        Replica(config, progress=stop((2, ITERATIONS)), checkpoint_dir=folder)
        for config, folder in zip(configs, folders, strict=True)
    ]
    runtime = Runtime(threads=1, checkpoint_every=4)
    with pytest.raises(Stop):
        run_replicas(replicas, runtime)
    again = [replace(replica, progress=None) for replica in replicas]
    found = run_replicas(again, runtime)
    for config, folder, result in zip(configs, folders, found, strict=True):
        go(config, tmp_path / "alone" / folder.name)
        states = [checkpoint.load_latest(f) for f in (folder, tmp_path / "alone" / folder.name)]
        assert_near(*(state and state["method"] for state in states), 1e-3, 1e-5)
        assert isinstance(result, Result) and len(result.accuracy["test/task"]) == 3


def test_one_that_diverges_leaves_the_others(tmp_path: Path) -> None:
    configs = [
        trial("hnet", seed=1),
        trial("hnet", seed=2, train__lr=1e30),
        trial("hnet", seed=3),
    ]
    told: list[TrainingDiverged] = []
    learned: list[int] = []
    replicas = [
        Replica(config, lambda row: learned.append(row.tasks_learned), diverged=told.append)
        for config in configs
    ]
    found = run_replicas(replicas, Runtime(threads=1))
    assert [type(result) for result in found] == [Result, TrainingDiverged, Result]
    assert told == [found[1]] and "try a smaller train/lr" in str(told[0])
    assert sorted(learned) == [1, 1, 2, 2, 3, 3]
    for i in (0, 2):
        expected = go(configs[i]).accuracy["test/task"]
        assert found[i].accuracy["test/task"][-1] == pytest.approx(expected[-1], abs=0.015)


def test_without_a_penalty_beside_those_with_one() -> None:
    configs = [trial("hnet", seed=1, method__beta=0.0), trial("hnet", seed=1, method__beta=1.0)]
    for config, result in zip(configs, together(configs), strict=True):
        expected = go(config).accuracy["test/task"]
        for mine, theirs in zip(result.accuracy["test/task"], expected, strict=True):
            assert mine == pytest.approx(theirs, abs=0.015)


def test_the_first_reports_last() -> None:
    order: list[tuple[int, int]] = []

    def note(i: int) -> Any:
        return lambda row: order.append((row.tasks_learned, i))

    run_replicas([Replica(c, note(i)) for i, c in enumerate(seeds(1, 2))], Runtime(threads=1))
    assert order == [(1, 1), (1, 0), (2, 1), (2, 0), (3, 1), (3, 0)]


def test_the_process_keeps_its_own_random_state() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    together(seeds(1, 2))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("configs", "words"),
    [
        ([trial("si", seed=1), trial("si", seed=2)], "si trains one seed at a time"),
        (seeds(1, 2, name="hnet-full"), "lookahead full"),
        ([trial("hnet"), trial("hnet", method__embedding_size=5)], "method/embedding_size"),
        ([trial("hnet"), trial("hnet", train__iterations=7)], "train/iterations differ"),
        (seeds(1, 2, train__kernels="plain"), "train/kernels plain train one at a time"),
        (seeds(1, train__kernels="plain"), "train/kernels plain train one at a time"),
    ],
)
def test_trials_that_cannot_be_replicas_are_refused(
    configs: list[TrialConfig], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        together(configs)


@pytest.mark.parametrize("method", ["si", "hnet_tir", "hnet_r", "hnet-full"])
def test_the_setting_is_refused_where_it_would_do_nothing(method: str) -> None:
    with pytest.raises(ConfigError, match=r"train/num_replicas: .* one seed at a time"):
        variant(method, train__num_replicas=2)
    own_tasks = {"benchmark__class_order": "shuffled", "benchmark__order_seed": "trial"}
    with pytest.raises(ConfigError, match="order_seed trial.* train one at a time; leave it out"):
        variant("hnet", train__num_replicas=2, **own_tasks)
    assert variant(method, train__num_replicas=1).train.num_replicas == 1


def test_the_setting_is_in_no_digest() -> None:
    assert variant("hnet", train__num_replicas=4).digest() == variant("hnet").digest()


def test_groups_are_of_one_configuration_and_not_too_large() -> None:
    configs = [
        *seeds(1, 2, 3, 4, 5, train__num_replicas=2),
        *seeds(1, 2, train__num_replicas=3, method__reg_tasks=1),
        trial("si"),
    ]
    assert group_replicas(configs) == [[0, 1], [2, 3], [4], [5, 6], [7]]


def test_a_learner_goes_on_from_its_own_random_state() -> None:
    configs = seeds(1, 2)
    for mine, config in zip(together(configs), configs, strict=True):
        assert torch.equal(mine.learner.random["cpu"], go(config).learner.random["cpu"])
