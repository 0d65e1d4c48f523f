"""`hcl reproduce` as a user runs it: interrupted, called again, nothing trained twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TABLE = """
title: A tiny table
columns: {si: SI, finetune: Fine-tuning}
bases:
  digits:
    benchmark: {name: split_digits, num_tasks: 3}
    target: {hidden_sizes: [8]}
    train: {iterations: 400, batch_size: 16}
rows:
  CL1:
    base: digits
    cells:
      si: {trial: {method/name: si}}
      finetune: {trial: {method/name: finetune}}
"""


def start(folder: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "sweeps.cli", "reproduce", "tiny.yaml", "--seeds", "2",
               "--max-concurrent", "1", "--storage", str(folder / "storage"), *more]  # fmt: skip
    # A job of a shell without terminal ignores SIGINT; a user's does not.
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "RAY_worker_niceness": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def results(folder: Path) -> dict[str, int]:
    """List the finished trainings and when they were written."""
    found = (folder / "storage").rglob("result.json")
    return {str(path): path.stat().st_mtime_ns for path in found}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_after_an_interruption_it_continues_and_trains_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TABLE)
    process = start(tmp_path)
    deadline = time.monotonic() + 120
    while not results(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130, text
    before = results(tmp_path)
    assert 1 <= len(before) < 4

    process = start(tmp_path)
    text, _ = process.communicate(timeout=200)
    assert process.returncode == 0, text
    assert "± " in text and "missing" not in text
    after = results(tmp_path)
    assert len(after) == 4 and before.items() <= after.items()

    process = start(tmp_path, "--dry-run")
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "4 are there; the others need 0 trainings" in text
    table = tmp_path / "storage" / "tables" / "tiny"
    assert {path.suffix for path in table.iterdir()} == {".md", ".tex", ".csv", ".html"}
    seeds = [json.loads(Path(path).read_text())["config"]["seed"] for path in after]
    assert sorted(seeds) == [1, 1, 2, 2]
