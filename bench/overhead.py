"""Cost of a sweep beyond its trainings: what is paid once and what each trial adds.

`python -m bench.overhead --trials 8 --iterations 20` runs a sweep of equal trials, one at a time,
and then the same trainings back to back in one process. A trial takes from its start to the next
one's start, by their journals (median, without the first, which also imports).

    added per trial = seconds of a trial - seconds of a training
    paid once       = seconds of the sweep - trials x seconds of a trial
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hcl.config import TrialConfig
from sweeps.records.journal import Journal

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
    """Measure trials of one length and replace their entry in bench/overhead.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--trials", type=int, default=8, help="trials of the sweep, at least 4")
    parser.add_argument(
        "--iterations", type=int, default=300, help="steps per task; there are 5 tasks"
    )
    args = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = _sweep(folder, args.trials, args.iterations)
        each = _seconds_per_trial(folder)
        configs = _configs(folder)
        training = _back_to_back(configs) / len(configs)
    found = {
        "iterations": args.iterations,
        "trials": args.trials,
        "sweep_seconds": round(seconds, 1),
        "trial_seconds": round(each, 2),
        "training_seconds": round(training, 2),
        "added_per_trial_seconds": round(each - training, 2),
        "added_per_trial_percent": round(100 * (each / training - 1), 1),
        "paid_once_seconds": round(seconds - args.trials * each, 1),
        "load_at_start": round(load, 1),
    }
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    others = [r for r in known if r["iterations"] != args.iterations]
    RESULTS.write_text(json.dumps([*others, found], indent=1) + "\n")
    print(json.dumps(found, indent=1))


def _sweep(folder: Path, trials: int, iterations: int) -> float:
    """Run the sweep; return the whole command's wall seconds, imports and Ray's start included."""
    space = folder / "overhead.yaml"
    space.write_text(SPACE.format(trials=trials, iterations=iterations))
    command = [sys.executable, "-m", "sweeps.cli", "sweep", str(space), "--storage", str(folder)]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _seconds_per_trial(folder: Path) -> float:
    """Return the median seconds between the starts of one trial and the next."""
    starts = sorted(Journal(path.parent).records()[0]["time"] for path in _results(folder))
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    return statistics.median(gaps[1:])


def _results(folder: Path) -> list[Path]:
    return sorted((folder / "sweeps" / "overhead" / "trials").glob("*/seed_1/result.json"))


def _configs(folder: Path) -> list[TrialConfig]:
    results = [json.loads(path.read_text()) for path in _results(folder)]
    return [TrialConfig.from_dict(result["config"]) for result in results]


def _back_to_back(configs: list[TrialConfig]) -> float:
    """Train one after the other; return the wall seconds without the first import."""
    from hcl.training.learner import Runtime, run

    run(configs[0], runtime=Runtime(threads=1))  # imports, and fills caches
    began = time.perf_counter()
    for config in configs:
        run(config, runtime=Runtime(threads=1))
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
