"""What a sweep costs beside its trainings, what is paid once and what is paid per trial apart.

Sweeps of few and of many equal trials, one at a time, and the same trainings back to back in one
process. Per trial: (seconds of the long sweep - of the short one) / difference in trials - seconds
of a training. Once: what is left of the short sweep.

`python -m bench.overhead --trials 2,10 --iterations 300`
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hcl.config import TrialConfig

RESULTS = Path(__file__).parent / "overhead.json"
SPACE = """
description: trials of equal length
trial:
  benchmark: {{name: split_digits, val_fraction: 0.2}}
  method: {{name: hnet, chunk_size: 2000}}
  train: {{iterations: {iterations}}}
search:
  method/beta: {{type: float, low: 1.0e-3, high: 1.0, log: true}}
points_to_evaluate:
  - {{method/beta: 0.01}}
sweep: {{num_trials: {trials}, sampler: random, max_concurrent_trials: 1}}
"""


def main() -> None:
    """Measure one length of trial; replaces its line in bench/overhead.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--trials", default="2,10", metavar="FEW,MANY")
    parser.add_argument("--iterations", type=int, default=300, help="steps per task, 5 tasks")
    args = parser.parse_args()
    few, many = (int(part) for part in args.trials.split(","))
    seconds: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        load = os.getloadavg()[0]
        for trials in (few, many):
            place = Path(folder) / str(trials)
            place.mkdir()
            seconds[trials] = _sweep(place, trials, args.iterations)
        configs = _configs(place)
        training = _back_to_back(configs) / len(configs)
    each = (seconds[many] - seconds[few]) / (many - few)
    found = {
        "iterations": args.iterations,
        "trials": [few, many],
        "sweep_seconds": [round(seconds[few], 1), round(seconds[many], 1)],
        "training_seconds": round(training, 2),
        "added_per_trial_seconds": round(each - training, 2),
        "added_per_trial_percent": round(100 * (each / training - 1), 1),
        "paid_once_seconds": round(seconds[few] - few * each, 1),
        "load_at_start": round(load, 1),
    }
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    others = [r for r in known if r["iterations"] != args.iterations]
    RESULTS.write_text(json.dumps([*others, found], indent=1) + "\n")
    print(json.dumps(found, indent=1))


def _sweep(folder: Path, trials: int, iterations: int) -> float:
    """Wall seconds of the whole command: imports, Ray's start and end, records."""
    space = folder / "overhead.yaml"
    space.write_text(SPACE.format(trials=trials, iterations=iterations))
    command = [sys.executable, "-m", "sweeps.cli", "sweep", str(space), "--storage", str(folder)]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _configs(folder: Path) -> list[TrialConfig]:
    results = sorted((folder / "sweeps" / "overhead" / "trials").glob("*/seed_1/result.json"))
    return [TrialConfig.from_dict(json.loads(p.read_text())["config"]) for p in results]


def _back_to_back(configs: list[TrialConfig]) -> float:
    """Wall seconds of the trainings alone, the first import not counted."""
    from hcl.learner import Runtime, run

    run(configs[0], runtime=Runtime(threads=1))  # imports and caches
    began = time.perf_counter()
    for config in configs:
        run(config, runtime=Runtime(threads=1))
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
