"""What a trained learner says and gives away, for every method in every scenario."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tiny import EVERY_CELL, assert_same, go, trial
from torch import Tensor

import hcl
from hcl.benchmarks import load
from hcl.benchmarks.arrays import Benchmark
from hcl.config import ConfigError
from hcl.learners.inputs import arrange_inputs
from hcl.results import Result


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


# A cell for each method and scenario; permuted data for those that give networks differently.
CELLS = [cell for cell in EVERY_CELL if cell[2] == "split_digits" or cell[0] in ("hnet", "joint")]


# Posterior meta-replay averages over networks, and gives that of the mean weights; iCaRL answers
# by the nearest mean of exemplars, and gives the network that it trains.
NOT_BY_ONE_NETWORK = ("pr_bbb", "icarl")


@cache
def trained(method: str, scenario: str, benchmark: str = "split_digits") -> Result:
    return go(trial(method, scenario, benchmark))


def data(benchmark: str = "split_digits") -> Benchmark:
    return load(trial(benchmark=benchmark).benchmark)


def inputs_of(benchmark: str, task_id: int) -> tuple[Tensor, Tensor]:
    """Test inputs of a task as training would see them, and their labels within the task."""
    test = data(benchmark).tasks[task_id].test
    return test.batch(torch.arange(len(test)))


@pytest.mark.parametrize(("method", "scenario", "benchmark"), CELLS)
def test_predictions_are_what_was_scored(method: str, scenario: str, benchmark: str) -> None:
    result = trained(method, scenario, benchmark)
    learner = result.learner
    inferred = result.inference.get(f"test/{scenario}")
    for task in learner.tasks:
        x, y = inputs_of(benchmark, task.task_id)
        answers = learner.predict(x, task.task_id if scenario == "task" else None)
        right = y if scenario == "domain" else torch.tensor(task.labels)[y]
        is_right = answers.labels == right
        if scenario == "class" and answers.task_ids is not None:  # labels come again in permuted
            is_right &= answers.task_ids == task.task_id
        accuracy = is_right.double().mean().item()
        assert accuracy == result.accuracy[f"test/{scenario}"][-1][task.task_id]
        if inferred:
            share = (answers.task_ids == task.task_id).double().mean().item()
            assert share == inferred[-1][task.task_id]
        assert answers.probabilities is not None and answers.entropy is not None
        assert answers.probabilities.sum(1).allclose(torch.ones(len(x)))
        assert (answers.entropy >= 0).all() and answers.entropy.isfinite().all()


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_columns_of_the_probabilities_are_the_labels(scenario: str) -> None:
    for method in ("hnet", "finetune"):
        learner = trained(method, scenario).learner
        x, _ = inputs_of("split_digits", 1)
        labels, p, task_ids, _ = learner.predict(x, 1 if scenario == "task" else None)
        known = [label for task in learner.tasks for label in task.labels]
        columns = {"task": [2, 3], "domain": [0, 1], "class": known}[scenario]
        assert p.shape == (len(x), len(columns))
        assert torch.equal(torch.tensor(columns)[p.argmax(1)], labels)
        if scenario == "class":
            assert torch.equal(labels // 2, task_ids)
        elif scenario == "domain":
            assert (task_ids is None) == (method == "finetune")


def test_a_task_that_is_not_given_is_inferred_or_asked_for() -> None:
    x, _ = inputs_of("split_digits", 0)
    assert set(trained("hnet", "task").learner.predict(x).task_ids.tolist()) <= {0, 1, 2}
    with pytest.raises(ConfigError, match="si was trained in the task scenario and infers no"):
        trained("si", "task").learner.predict(x)
    for task in (3, -1, "1"):
        with pytest.raises(ConfigError, match="must be one of 0 to 2, the learned tasks"):
            trained("si", "task").learner.predict(x, task)


def test_inputs_of_every_form() -> None:
    learner = trained("hnet", "class").learner
    stored = data().tasks[1].test.x
    expected = learner.predict(stored)
    images = stored.reshape(-1, 8, 8)
    floats, _ = inputs_of("split_digits", 1)
    for form in (images, images.numpy(), floats, floats.numpy(), floats.double()):
        assert_same(tuple(learner.predict(form)), tuple(expected))
    frozen = images.numpy().copy()
    frozen.flags.writeable = False
    assert_same(tuple(learner.predict(frozen)), tuple(expected))
    raw = load_digits().images  # 0 to 16, as scikit-learn has them: no form that is known
    with pytest.raises(ConfigError, match=r"must be uint8 .* but is torch.int64"):
        learner.predict(raw.astype(np.int64))
    with pytest.raises(ConfigError, match=r"shape \(N, 64\) or be raw images .* \(7, 5, 5\)"):
        learner.predict(np.zeros((7, 5, 5)))
    assert len(learner.predict(stored[:0]).labels) == 0


def test_padded_and_coloured_images_are_arranged_as_the_benchmark_does() -> None:
    grey = torch.arange(4, dtype=torch.uint8).reshape(1, 2, 2)
    padded = arrange_inputs(grey, (16,), padding=1)
    assert padded.reshape(4, 4)[1:3, 1:3].tolist() == grey[0].tolist()
    assert padded.sum() == grey.sum()
    colour = torch.arange(12, dtype=torch.uint8).reshape(1, 2, 2, 3)
    assert torch.equal(arrange_inputs(colour, (3, 2, 2)), colour.permute(0, 3, 1, 2))


@pytest.mark.parametrize("method", ["hnet", "si"])
def test_batches_change_nothing(method: str) -> None:
    learner = trained(method, "class").learner
    x, _ = inputs_of("split_digits", 0)
    whole = learner.predict(x)
    parts = learner.predict(x, batch_size=7)
    assert torch.equal(whole.labels, parts.labels)
    assert torch.allclose(whole.probabilities, parts.probabilities, atol=1e-6)


@pytest.mark.parametrize(("method", "scenario", "benchmark"), CELLS)
def test_a_module_answers_as_the_learner(method: str, scenario: str, benchmark: str) -> None:
    learner = trained(method, scenario, benchmark).learner
    for task in learner.tasks[1:]:
        x, _ = inputs_of(benchmark, task.task_id)
        network = learner.module(task.task_id)
        p = network(x).softmax(dim=1)
        answers = learner.predict(x, task.task_id).probabilities
        assert answers is not None
        assert torch.allclose(p, answers, atol=1e-6) == (method not in NOT_BY_ONE_NETWORK)
        whole = learner.weights(task.task_id)
        assert whole.keys() == network.state_dict().keys() == {
            "0.weight", "0.bias", "2.weight", "2.bias"
        }  # fmt: skip


def test_one_network_for_all_tasks() -> None:
    learner = trained("si", "class").learner
    x, _ = inputs_of("split_digits", 1)
    p = learner.module(None)(x).softmax(dim=1)
    assert torch.allclose(p, learner.predict(x).probabilities, atol=1e-6)
    with pytest.raises(
        ConfigError, match="hnet generates a network for every task; name the task"
    ):
        trained("hnet", "class").learner.module(None)


def test_a_module_is_exported() -> None:
    learner = trained("hnet", "task").learner
    x, _ = inputs_of("split_digits", 2)
    network = learner.module(2)
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (x[:4],), dynamic_shapes=({0: batch},))
    assert torch.equal(program.module()(x), network(x))


def test_weights_are_copies() -> None:
    learner = trained("finetune", "task").learner
    x, _ = inputs_of("split_digits", 0)
    before = learner.predict(x, 0).probabilities
    learner.weights(0)["0.weight"].zero_()
    assert torch.equal(learner.predict(x, 0).probabilities, before)


def test_a_regression() -> None:
    config = trial("hnet", "task", "toy_regression", benchmark__classes_per_task=1)
    learner = go(config).learner
    points = load(config.benchmark).tasks[1].test
    answers = learner.predict(points.x, 1)
    assert answers.labels.shape == points.y.shape and answers.labels.is_floating_point()
    assert answers.probabilities is None and answers.entropy is None
    assert torch.allclose(learner.module(1)(points.x), answers.labels, atol=1e-6)
    assert [task.labels for task in learner.tasks] == [(), (), ()]


def test_a_result_keeps_its_learner_to_itself(tmp_path: Path) -> None:
    result = trained("finetune", "task")
    assert isinstance(result.learner, hcl.Learner)
    assert "learner" not in result.to_dict()
    assert Result.from_dict(result.to_dict()) == result


def test_labels_are_the_datas_own() -> None:
    config = trial("finetune", benchmark__class_order=[9, 3, 7, 0, 1, 2])
    learner = go(config).learner
    assert [task.labels for task in learner.tasks] == [(9, 3), (7, 0), (1, 2)]
    x, y = load(config.benchmark).tasks[1].test.batch(torch.arange(20))
    right = learner.predict(x, 1).labels == torch.tensor([7, 0])[y]
    assert right.double().mean() > 0.5
    assert {7, 0} >= set(learner.predict(x, 1).labels.tolist())
