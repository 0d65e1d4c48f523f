"""Sweeps over data of one's own: their validation part, and numbers in place of classes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from sweeps.space.search_space import load

DRAWS = np.random.RandomState(0)
SPACE = {
    "trial": {
        "benchmark": {"sequence": "given", "data": "mine.npz", "num_tasks": 2},
        "method": {"name": "hnet"},
        "target": {"hidden_sizes": [8]},
        "train": {"iterations": 20, "batch_size": 8},
    },
    "search": {"method/beta": {"type": "float", "low": 0.1, "high": 1.0}},
    "sweep": {"num_trials": 2, "max_concurrent_trials": 1},
}


def arrays(splits: str, numbers: bool) -> dict[str, np.ndarray]:
    found = {}
    for split in splits.split():
        t, y = np.repeat([0, 1], 12), np.arange(24) % 3
        x = DRAWS.randn(24, 5) + y[:, None]
        found |= {f"x_{split}": x, f"t_{split}": t, f"y_{split}": x[:, :2] if numbers else y}
    return found


def sweep(folder: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "sweeps.cli", "sweep", "space.yaml", *words]
    here = os.environ | {"HCL_STORAGE": str(folder / "storage"), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=here, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(60)
def test_a_validation_part_is_needed(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    np.savez(tmp_path / "mine.npz", **arrays("train test", False))
    status, said = sweep(tmp_path, "--dry-run")
    assert status == 2 and "val/task/average_accuracy needs validation data, which the" in said
    assert len(said.strip().splitlines()) == 1
    np.savez(tmp_path / "mine.npz", **arrays("train val test", False))
    assert sweep(tmp_path, "--dry-run")[0] == 0


def test_objectives_of_a_regression(tmp_path: Path) -> None:
    own = SPACE["trial"]["benchmark"] | {"targets": "numbers"}  # type: ignore[operator]
    wrong = SPACE | {"trial": SPACE["trial"] | {"benchmark": own}}  # type: ignore[operator]
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(ValueError, match="METRIC one of average_mse, learning_mse"):
        load(tmp_path / "space.yaml")
    wrong["sweep"] = SPACE["sweep"] | {"objective": "val/task/average_mse"}  # type: ignore[operator]
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(ValueError, match="is an error, less is better; use min"):
        load(tmp_path / "space.yaml")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_regression_is_searched_and_reported(tmp_path: Path) -> None:
    own = SPACE["trial"]["benchmark"] | {"targets": "numbers"}  # type: ignore[operator]
    settings = SPACE["sweep"] | {"objective": "val/task/average_mse", "mode": "min"}  # type: ignore[operator]
    space = SPACE | {"trial": SPACE["trial"] | {"benchmark": own}, "sweep": settings}  # type: ignore[operator]
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    np.savez(tmp_path / "mine.npz", **arrays("train val test", True))
    status, said = sweep(tmp_path)
    assert status == 0 and "2 of 2 trials ended" in said, said
    command = [sys.executable, "-m", "sweeps.cli", "report", "space"]
    here = os.environ | {"HCL_STORAGE": str(tmp_path / "storage"), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    best = re.search(r"best (\d+\.\d+) \(trial", said)
    assert best and f"{float(best[1]):.2f} (n = 1)" in done.stdout
    assert "test average mse" in done.stdout and "given mine.npz (2 tasks)" in done.stdout
