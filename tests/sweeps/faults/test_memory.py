"""A trial that fills its node's memory: Ray kills its worker, and the sweep goes on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from whole_sweeps import NAME, study_trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

METHOD = """
from dataclasses import dataclass
from typing import ClassVar
from hcl.config.method_base import MethodConfig
from hcl.config.schema import setting
from hcl.methods.finetune import Finetune

class Hoarder(Finetune):
    @dataclass(frozen=True)
    class Config(MethodConfig):
        LABEL: ClassVar[str] = "Hoarder"
        gigabytes: int = setting(0, ge=0)

    def train_step(self, x, y):
        if not hasattr(self, "hoard"):
            self.hoard = [bytearray(b"1" * 2**27) for _ in range(8 * self.config.gigabytes)]
        return super().train_step(x, y)
"""
SPACE = """
description: a trial too many
trial:
  benchmark: {name: split_digits, num_tasks: 2, val_fraction: 0.2}
  method: {name: "hoarder:Hoarder"}
  train: {iterations: 5, batch_size: 16}
search:
  method/gigabytes: {type: choice, values: [0, 64]}
points_to_evaluate: [{method/gigabytes: 0}, {method/gigabytes: 64}, {method/gigabytes: 0}]
sweep: {num_trials: 3, max_concurrent_trials: 1, max_failures: 1}
"""


def test_the_sweep_goes_on_without_it(tmp_path: Path) -> None:
    lines = Path("/proc/meminfo").read_text().splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    total, free = kilobytes["MemTotal"], kilobytes["MemAvailable"]
    threshold = (total - free + 6e6) / total  # others run here
    if threshold > 0.9:
        pytest.skip("not enough free memory")
    (tmp_path / "hoarder.py").write_text(METHOD)
    (tmp_path / "hoard.yaml").write_text(SPACE)
    done = subprocess.run(
        [sys.executable, "-m", "sweeps.cli", "sweep", "hoard.yaml", "--storage", "storage",
         "--name", NAME],
        cwd=tmp_path, text=True, capture_output=True,
        env=os.environ | {"RAY_memory_usage_threshold": f"{threshold:.4f}",
                          "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert re.search(r"trial 1 failed: its process died 2 times \(killed, out of memory", said)
    states = [trial.state.name for trial in study_trials(tmp_path / "storage")]
    assert states == ["COMPLETE", "FAIL", "COMPLETE"]
