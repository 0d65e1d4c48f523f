"""What a training uses is measured exactly, and recorded after each task."""

import time
from pathlib import Path

import pytest
import torch
from made import train_seed
from tiny import trial

from sweeps.records.journal import Journal
from sweeps.tracking import Store, runs_frame
from sweeps.workers import usage
from sweeps.workers.context import RunContext
from sweeps.workers.usage import Usage, peak_bytes

SIZE = 300_000_000  # bytes


def test_the_peak_is_that_of_this_training() -> None:
    held = bytearray(SIZE)
    del held
    before = peak_bytes()
    now = Usage("cpu").metrics()["usage/peak_memory_gb"]
    if before - 1e9 * now < SIZE / 2:
        pytest.skip("this system does not forget a peak")
    kept = bytearray(SIZE)
    measured = Usage("cpu")
    assert 1e9 * measured.metrics()["usage/peak_memory_gb"] > 1e9 * now + SIZE / 2
    del kept


def test_a_system_that_forgets_no_peak_has_the_processs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STATUS", "FORGET"):
        monkeypatch.setattr(usage, name, tmp_path / "not" / "there")
    assert Usage("cpu").metrics()["usage/peak_memory_gb"] > 0.05


def test_cores_are_those_that_computed() -> None:
    measured = Usage("cpu")
    time.sleep(0.3)
    assert measured.metrics()["usage/cpu_cores"] < 0.5
    assert measured.metrics().keys() == {"usage/peak_memory_gb", "usage/cpu_cores"}


@pytest.mark.cuda
def test_a_gpus_memory_is_measured() -> None:
    measured = Usage("cuda")
    torch.zeros(SIZE, dtype=torch.uint8, device="cuda")
    used = measured.metrics()
    assert used["usage/peak_gpu_memory_gb"] >= SIZE / 1e9
    measured._looked -= usage.SECONDS
    measured.look()
    assert 0 <= measured.metrics().get("usage/gpu_percent", 0) <= 100


def test_it_is_in_the_journal_and_in_mlflow(tmp_path: Path, store: Store) -> None:
    config = trial("finetune", benchmark__val_fraction=0.2)
    folder = tmp_path / "seed_1"
    train_seed(config, RunContext("used", store, threads=1), folder, 0)
    tasks = [record for record in Journal(folder).records() if record["kind"] == "task"]
    assert len(tasks) == 3
    assert all(0.05 < task["usage"]["usage/peak_memory_gb"] < 50 for task in tasks)
    row = runs_frame(store, "used").iloc[0]
    assert row["usage/cpu_cores"] == tasks[-1]["usage"]["usage/cpu_cores"]
