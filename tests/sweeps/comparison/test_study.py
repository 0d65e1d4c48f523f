"""A whole study through Ray, Optuna and MLflow: of methods whose true means are known."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sweeps import tracking
from sweeps.cli import app
from sweeps.comparison.plan import make_plan
from sweeps.comparison.run import Outcome, StudyRequest, read_outcomes
from sweeps.comparison.study_file import load_study
from sweeps.launch.request import store_of
from sweeps.records.folder import SweepFolder

ROOT = Path(__file__).parents[3]
NAMES = ("good", "same", "poor")
MEANS = {"good": 0.9, "same": 0.9, "poor": 0.6}
# Every input shows its class. A method remembers each task's labels and is wrong as often as told.
METHOD = '''
"""Methods that are right with a chosen probability."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from hcl.config.methods import MethodConfig
from hcl.config.schema import setting
from hcl.methods.finetune import Finetune


@dataclass(frozen=True)
class Config(MethodConfig):
    """How often it is right."""

    LABEL: ClassVar[str] = "Told"

    mean: float = setting(0.9, ge=0, le=1)
    draw: int = setting(0, ge=0)  # of which of its inputs it gets wrong
    ignored: float = setting(0.5, ge=0, le=1)  # what the search may turn


class Told(Finetune):
    """Right for a share `mean` of its inputs."""

    Config = Config

    def predict(self, x, task_id):
        made = super().predict(x, task_id)
        label = (x[:, 0] * 255).round().long() % 2
        draw = torch.Generator().manual_seed(
            int(1e6 * torch.rand(1).item()) + self.config.draw
        )
        right = torch.rand(len(x), generator=draw) < self.config.mean
        chosen = torch.where(right, label, 1 - label)
        answer = torch.nn.functional.one_hot(chosen, 2).to(made.logits.dtype)
        heads = made.logits.shape[1] // 2  # each task has outputs of its own
        return made._replace(logits=answer.repeat(1, heads))
'''
STUDY = """
description: Methods whose true accuracies are known
benchmarks: [{sequence: split, data: DATA, num_tasks: 3, classes_per_task: 2}]
effort: {trials: 2}
confirmation: {pairs: 7, orders: fixed}
reference: good
trial:
  benchmark: {val_fraction: 0.2}
  target: {hidden_sizes: [4]}
  train: {iterations: 1, batch_size: 4}
sweep: {sampler: random}
methods:
"""
ONE = """
  NAME:
    trial: {method: {name: "told:Told", mean: MEAN, draw: DRAW}}
    search: {method/ignored: {type: float, low: 0.1, high: 1.0}}
"""


def write_files(folder: Path) -> Path:
    """Write data whose only feature is the class, the method, and the study of three of it."""
    labels = np.arange(1200) % 6
    x = labels[:, None].astype(np.uint8)
    np.savez(folder / "shown.npz", x_train=x, y_train=labels, x_test=x, y_test=labels)
    (folder / "told.py").write_text(METHOD)
    methods = "".join(
        ONE.replace("NAME", name).replace("MEAN", str(MEANS[name])).replace("DRAW", str(draw))
        for draw, name in enumerate(NAMES)
    )
    path = folder / "known.yaml"
    path.write_text(STUDY.replace("DATA", str(folder / "shown.npz")) + methods)
    return path


def run_command(path: Path, storage: Path, *options: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "sweeps.cli", "study", str(path), "--storage", str(storage)]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, cwd=path.parent, timeout=550,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def outcomes_of(path: Path, storage: Path) -> list[Outcome]:
    spec = load_study(path)
    parts = tuple(make_plan(spec))
    return read_outcomes(StudyRequest(spec, parts, SweepFolder(storage, spec.name)))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_known_means_come_out_of_a_whole_study(tmp_path: Path, monkeypatch) -> None:
    path, storage = write_files(tmp_path), tmp_path / "storage"
    planned = run_command(path, storage, "--dry-run")
    assert (
        "with 7 pairs the smallest two-sided p is 0.016, times 2 comparisons (Holm) 0.031"
        in planned
    )
    assert "Trainings, estimated" in planned and "one after the other" in planned
    assert not storage.exists()
    run_command(path, storage)

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = {one.part.method: one for one in outcomes_of(path, storage)}
    for name, one in found.items():
        values = list(one.values().values())
        sem = np.std(values, ddof=1) / np.sqrt(7)
        assert len(values) == 7
        assert np.mean(values) == pytest.approx(100 * MEANS[name], abs=4 * sem + 0.1)
        assert (one.spent.trials, one.spent.failed, one.spent.settings) == (2, 0, 1)
    verdict = (storage / "studies" / "known" / "known.md").read_text()
    assert verdict.startswith("split shown.npz, 3 tasks, task: good is")
    assert "better than poor" in verdict.splitlines()[0]
    assert "no difference shown" in verdict and "| differ, p 0.031 |" in verdict

    frame = tracking.runs_frame(store_of(SweepFolder(storage, "known"), None))
    assert len(frame) == 3 * 2 + 3 * 7
    assert set(frame["tags.protocol"]) == {"full"} and set(frame["tags.study"]) == {"known"}
    client = tracking.database.connect(store_of(SweepFolder(storage, "known"), None))
    experiments = {e.name for e in client.search_experiments()} - {"Default"}
    assert experiments == {"known"}  # one experiment, one parent of everything
    runs = client.search_runs([client.get_experiment_by_name("known").experiment_id])
    parents = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in runs}
    (top,) = [run for run, parent in parents.items() if parent is None]
    assert all(parent == top or parents[parent] == top for parent in parents.values() if parent)

    times = {p: p.stat().st_mtime_ns for p in storage.rglob("result.json")}
    again = run_command(path, storage)
    assert "sweep 1" not in again and "confirmation:" not in again  # nothing is run again
    assert {p: p.stat().st_mtime_ns for p in storage.rglob("result.json")} == times
    more = run_command(path, storage, "--set", "confirmation/pairs=8")
    assert "confirmation: 3 trainings" in more and "sweep 1" not in more
    other = run_command(path, storage, "--set", "protocol={first_tasks: 2}", status=2)
    assert "verdict" not in other.lower() and "sweep 1" not in other  # refused before it starts


def test_mistakes_are_shown_without_a_stack_trace(tmp_path: Path) -> None:
    path = write_files(tmp_path)
    for options, said in (
        (["--set", "effort={}"], "effort: give trials or core_hours"),
        (["--set", "protocol"], "write KEY=VALUE"),
        (["--name", "a/b"], "--name"),
    ):
        arguments = ["study", str(path), "--storage", str(tmp_path / "storage"), *options]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code != 0 and said in str(done.exception)
