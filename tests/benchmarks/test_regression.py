"""The toy regression: data, score and limits; the hypernetwork keeps the curves."""

from dataclasses import replace

import pytest
import torch

from hcl import benchmarks
from hcl.config import ConfigError, TrialConfig
from hcl.hypernets import Hypernet
from hcl.results import TaskReport
from hcl.scenario import RegressionLayout
from hcl.training.learner import run

TOY = {
    "benchmark/name": "toy_regression",
    "target/hidden_sizes": [10, 10],
    "target/activation": "sigmoid",
    "train/iterations": 300,
    "train/batch_size": 32,
    "train/lr": 0.01,
}
HNET = {
    "method/name": "hnet",
    "method/beta": 0.005,
    "method/embedding_size": 2,
    "method/chunk_size": 0,
    "method/activation": "sigmoid",
    "method/init": "torch",
}


def test_curves_and_intervals_are_the_papers() -> None:
    tasks = benchmarks.load(TrialConfig.from_dict(TOY).benchmark).tasks
    for task, (curve, low, high) in zip(
        tasks,
        [
            (lambda x: x + 3, -4, -2),
            (lambda x: 2 * x**2 - 1, -1, 1),
            (lambda x: (x - 3) ** 3, 2, 4),
        ],
        strict=True,
    ):
        x, y = task.test.batch(torch.arange(50))
        assert (x.min().item(), x.max().item()) == (low, high)
        torch.testing.assert_close(y, curve(x))
        x, y = task.train.batch(torch.arange(100))
        assert low <= x.min() and x.max() <= high
        assert 0.03 < (y - curve(x)).std().item() < 0.07  # noise of 0.05


def test_digest_changes_with_every_setting() -> None:
    base = TrialConfig.from_dict(TOY).benchmark
    others = [replace(base, **c) for c in ({"num_tasks": 2}, {"val_fraction": 0.5}, {"seed": 7})]
    assert len({benchmarks.load(c).digest for c in (base, *others)}) == 4


def test_sizes_are_the_papers() -> None:
    """The target has 141 weights, the hypernetwork 1,691, an embedding 2, as the authors have."""
    result = run(TrialConfig.from_dict({**TOY, **HNET, "train/iterations": 1}))
    assert result.metrics["num_target_weights"] == 141
    assert result.metrics["num_weights"] == 1691 + 6


def test_the_score_is_the_mean_squared_error() -> None:
    layout = RegressionLayout("task", 3, 1)
    logits, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [4.0]])
    assert layout.sum_score(logits, y, 1, 2, "task").item() == 5
    assert layout.head_cross_entropy(logits, layout.targets(y, 1), 1).item() == 2.5


@pytest.mark.timeout(60)
def test_learned_curves_are_kept_and_fine_tuning_forgets() -> None:
    kept = run(TrialConfig.from_dict({**TOY, **HNET, "method/beta": 1.0}))
    lost = run(TrialConfig.from_dict({**TOY, "method/name": "finetune"}))
    alone = run(TrialConfig.from_dict({**TOY, "method/name": "from_scratch"}))
    assert kept.accuracy == {}  # errors are no accuracies
    first = "test/task/mse/task_00"
    assert kept.metrics[first] < 0.2 < 0.4 < lost.metrics[first]
    assert alone.metrics["test/task/average_mse"] < 0.2


@pytest.mark.timeout(60)
def test_joint_training_learns_all_curves_and_a_report_has_them() -> None:
    reports: list[TaskReport] = []
    joint = TrialConfig.from_dict({**TOY, "method/name": "joint", "train/lr": 0.05})
    result = run(joint, report=reports.append)
    assert result.metrics["test/task/average_mse"] < 0.5  # fine-tuning ends at 4.9
    tasks = benchmarks.load(joint.benchmark).tasks
    for learned, report in enumerate(reports, start=1):
        assert report.curves is not None and len(report.curves) == learned
        for task, curve in zip(tasks, report.curves, strict=False):
            error = (torch.tensor(curve)[:, None] - task.test.y).square().mean().item()
            stated = report.metrics[f"test/task/mse/task_{task.task_id:02d}"]
            assert error == pytest.approx(stated, rel=1e-4)


@pytest.mark.timeout(60)
def test_ewc_with_an_overwhelming_strength_stays_where_it_is() -> None:
    ewc = {**TOY, "method/name": "ewc", "method/fisher_labels": "expected"}
    kept = run(TrialConfig.from_dict({**ewc, "method/ewc_lambda": 1e8}))
    lost = run(TrialConfig.from_dict({**ewc, "method/ewc_lambda": 0.0}))
    first = "test/task/mse/task_00"
    assert kept.metrics[first] < 0.2 < 0.4 < lost.metrics[first]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method/name": "ewc"}, "method/fisher_labels: .* got predicted; use expected or true"),
        ({"method/name": "si"}, "method/name: si cannot learn toy_regression"),
        (
            {"train/label_smoothing": 0.1},
            "train/label_smoothing: toy_regression is a regression and has no labels but got 0.1",
        ),
        ({"scenario": "domain"}, "scenario: toy_regression is a regression"),
        ({"benchmark/num_tasks": 4}, "benchmark/num_tasks: toy_regression has 3 tasks but got 4"),
        (
            {"benchmark/padding": 1},
            "benchmark/padding: toy_regression has no images to pad but got 1",
        ),
    ],
)
def test_settings_beyond_its_limits_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrialConfig.from_dict({**TOY, **change})


def test_only_torchs_initialization_has_biases() -> None:
    torch.manual_seed(0)
    assert Hypernet(30, 2, 2, 0, (5,), "relu", "torch").output[-1].abs().max() > 0
    assert Hypernet(30, 2, 2, 0, (5,), "relu").output[-1].abs().max() == 0
