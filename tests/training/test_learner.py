"""The training loop: its reports, when they come, and the trials that it refuses."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ITERATIONS, assert_same, build, go, trial

import hcl
from hcl import metrics
from hcl.config import ConfigError, TrialConfig
from hcl.results import Progress, Result, TaskReport
from hcl.storage import checkpoint
from hcl.storage.files import DataError
from hcl.training.evaluate import evaluate_row
from hcl.training.learner import Runtime, TrainingDiverged, run


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_reports_rows_of_the_matrices() -> None:
    reports: list[TaskReport] = []
    config = trial("hnet", eval_scenarios=["task", "class"], benchmark__val_fraction=0.2, seed=3)
    result = go(config, report=reports.append)
    assert [r.tasks_learned for r in reports] == [1, 2, 3]
    assert [(r.task_id, r.num_tasks) for r in reports] == [(0, 3), (1, 3), (2, 3)]
    names = [f"{split}/{scenario}" for split in ("val", "test") for scenario in ("task", "class")]
    assert set(result.accuracy) == set(names)
    for name in names:
        for t, report in enumerate(reports):
            row = [report.metrics[f"{name}/acc/task_{i:02d}"] for i in range(t + 1)]
            assert row == result.accuracy[name][t]
            assert report.metrics[f"{name}/average_accuracy"] == pytest.approx(sum(row) / len(row))
            assert f"{name}/acc/task_{t + 1:02d}" not in report.metrics
        for metric, value in metrics.summary(result.accuracy[name]).items():
            assert result.metrics[f"{name}/{metric}"] == value
    assert set(result.inference) == {"val/class", "test/class"}
    inferred = result.inference["test/class"][-1]
    final = result.metrics["test/class/task_inference_accuracy"]
    assert final == reports[-1].metrics["test/class/task_inference_accuracy"]
    assert final == pytest.approx(sum(inferred) / 3)
    assert {"loss/task", "loss/regularizer"} <= reports[1].metrics.keys()
    assert "loss/regularizer" not in reports[0].metrics
    assert all(math.isfinite(v) for r in reports for v in r.metrics.values())


def test_result() -> None:
    config = trial("hnet")
    result = go(config)
    assert result.config == config.to_dict()
    assert TrialConfig.from_dict(result.config) == config
    again = Result.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False)))
    assert again == result
    method, data = build(config)
    stored = sum(p.numel() for p in method.parameters())
    assert result.metrics["num_weights"] == stored
    assert result.metrics["num_target_weights"] == 64 * 8 + 8 + 8 * 6 + 6
    assert result.metrics["compression_ratio"] == stored / (64 * 8 + 8 + 8 * 6 + 6)
    assert result.metrics["wall_seconds"] > 0 and result.metrics["steps_per_second"] > 0
    assert result.data_digest == data.digest
    assert {"hcl", "python", "torch", "numpy", "device", "threads"} <= result.versions.keys()
    assert result.versions["threads"] == "1"


def test_accuracy_is_counted_by_hand() -> None:
    """Score sample by sample, for a method that is given the task and for one that is not."""
    for scenario in ("task", "domain", "class"):
        method, data = build(trial("finetune", scenario))
        for task in data.tasks:
            method.start_task(task)
        method.eval()
        row = evaluate_row(method, data.tasks, scenario, batch_size=7)["test"][0]
        for task, accuracy in zip(data.tasks, row, strict=True):
            x, y = task.test.batch(torch.arange(len(task.test)))
            right = 0
            for image, label in zip(x, y.tolist(), strict=True):
                logits = method.network(image[None])[0].tolist()
                first = 2 * task.task_id if scenario != "domain" else 0
                among = range(first, first + 2) if scenario == "task" else range(len(logits))
                right += max(among, key=lambda unit: logits[unit]) == first + label
            assert accuracy == right / len(y)


def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcl.training.learner.READ_EVERY", 4)
    seen: list[Progress] = []
    go(trial("finetune"), progress=seen.append)
    assert [(p.task_id, p.step) for p in seen] == [
        (task, step) for task in range(3) for step in (4, ITERATIONS)
    ]
    assert all(p.iterations == ITERATIONS and p.num_tasks == 3 for p in seen)
    assert all(p.losses.keys() == {"task"} for p in seen)
    seconds = [p.seconds for p in seen]
    assert seconds == sorted(seconds)


def test_a_row_is_reported_before_its_checkpoint(tmp_path: Path) -> None:
    counts = []

    def report(row: TaskReport) -> None:
        state = checkpoint.load_latest(tmp_path)
        counts.append((row.tasks_learned, state["tasks_learned"] if state else 0))

    go(trial("finetune"), tmp_path, report=report)
    assert counts == [(1, 0), (2, 1), (3, 2)]


@pytest.mark.parametrize("every", [1, 4, 6, 100])
def test_checkpoints_change_nothing(every: int, tmp_path: Path) -> None:
    config = trial("ewc", method__fisher_labels="sampled")
    assert go(config, tmp_path, every).accuracy == go(config).accuracy


@pytest.mark.parametrize("method", ["hnet", "finetune", "ewc"])
def test_divergence_is_reported(method: str) -> None:
    with pytest.raises(TrainingDiverged, match=r"the \w+ loss is (nan|inf) at step \d+ of task"):
        go(trial(method, train__lr=1e30, train__iterations=30))


def test_how_evaluation_is_batched_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for scenario in ("task", "class"):
        small, large, default = (
            go(trial("hnet", scenario, train__eval_batch_size=size)) for size in (7, 5000, 0)
        )
        assert small.accuracy == large.accuracy == default.accuracy
        assert small.inference == large.inference == default.inference
        monkeypatch.setattr("hcl.learners.inputs.VALUES_AT_ONCE", 1)  # less than one input
        assert go(trial("hnet", scenario, train__iterations=1)).accuracy
        monkeypatch.undo()


def test_the_process_is_left_as_it_was() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    torch.set_num_threads(2)
    run(trial("finetune"), runtime=Runtime(threads=1))
    assert torch.get_num_threads() == 2
    with pytest.raises(TrainingDiverged):
        go(trial("finetune", train__lr=1e30, train__iterations=30))
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.rand(3), expected)


def test_from_scratch_forgets_nothing_and_joint_sees_everything() -> None:
    scratch = go(trial("from_scratch", train__iterations=30)).accuracy["test/task"]
    assert all(row == scratch[-1][: len(row)] for row in scratch)
    joint = go(trial("joint", "class", train__iterations=150, train__batch_size=64))
    tuned = go(trial("finetune", "class", train__iterations=150, train__batch_size=64))
    name = "test/class/average_accuracy"
    assert joint.metrics[name] > 0.9 > tuned.metrics[name] + 0.4


def test_hnet_remembers_where_finetuning_forgets() -> None:
    more: dict[str, Any] = {"train__iterations": 150, "train__batch_size": 32, "method__beta": 1.0}
    kept = go(trial("hnet", method__hidden_sizes=[10, 10], **more))
    more["method__beta"] = 0.0
    lost = go(trial("hnet", method__hidden_sizes=[10, 10], **more))
    assert kept.metrics["test/task/learning_accuracy"] > 0.9
    assert kept.metrics["test/task/forgetting"] < 0.05
    assert lost.metrics["test/task/forgetting"] > 0.1


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cuda", "device cuda is not available here, PyTorch sees 0 GPUs; use --device cpu"),
        ("cuda:7", "device cuda:7 is not available here"),
        ("gpu", "unknown device 'gpu'; use cpu, cuda or cuda:NUMBER"),
        ("meta", "unknown device 'meta'; use cpu, cuda or cuda:NUMBER"),
        ("", "unknown device ''"),
    ],
)
def test_a_device_that_is_not_there(device: str, words: str, tmp_path: Path) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(ConfigError) as caught:
        run(trial("finetune"), runtime=Runtime(device=device, checkpoint_dir=tmp_path))
    (error,) = caught.value.errors
    assert words in error


def test_threads_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="threads: must be >= 1 but got -1"):
        run(trial("finetune"), runtime=Runtime(threads=-1))


def test_damaged_data(tmp_path: Path) -> None:
    (tmp_path / "mnist.npz").write_bytes(b"not an archive")
    with pytest.raises(DataError):
        run(trial("finetune", benchmark="split_mnist"), runtime=Runtime(data_root=tmp_path))


def test_public_names() -> None:
    for name in hcl.__all__:
        assert getattr(hcl, name).__name__.rpartition(".")[2] == name
    assert hcl.run is run
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        _ = hcl.rum


def test_a_trial_says_the_same_wherever_it_checkpoints(tmp_path: Path) -> None:
    """The saved state is the state in memory, complete and whenever it is saved."""
    states = []
    for every in (0, 2):
        go(trial("si"), tmp_path / str(every), every)
        state = checkpoint.load_latest(tmp_path / str(every))
        assert state is not None
        states.append({k: v for k, v in state.items() if "seconds" not in k})
    assert_same(*states)
