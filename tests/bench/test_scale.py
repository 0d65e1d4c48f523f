"""The scale benchmark runs, and measures what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_small_sweep_of_nothing_is_measured(tmp_path: Path) -> None:
    out, plot = tmp_path / "scale.json", tmp_path / "scale.png"
    command = [sys.executable, "-m", "bench.scale", "--trials", "3", "--slots", "2"]
    command += ["--task-seconds", "0.1", "--out", str(out), "--plot", str(plot)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=230
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    (first,) = found["rows"]  # at the first trial, then at every hundredth
    assert first["trials"] == 1
    assert 0 < first["search_cpu_s"] < first["driver_cpu_s"]
    assert first["driver_mb"] > 50
    asked = ("end_s", "study_get_trials_s", "runs_frame_s", "report_s", "sync_again_s")
    assert all(found[question] > 0 for question in asked)
    assert plot.read_bytes().startswith(b"\x89PNG")
