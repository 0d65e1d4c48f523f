"""What a sweep costs beside its trainings: N trials through `hcl sweep`, one at a time, against
the same N trainings back to back in one process.

`python -m bench.overhead --trials 8 --iterations 400`
"""

import argparse
import json
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
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=400, help="steps per task, 5 tasks")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sweep = _sweep(Path(folder), args.trials, args.iterations)
        alone = _back_to_back(_configs(Path(folder)))
    found = {
        "trials": args.trials,
        "seconds_per_training": round(alone / args.trials, 2),
        "sweep_seconds": round(sweep, 1),
        "back_to_back_seconds": round(alone, 1),
        "added_seconds_per_trial": round((sweep - alone) / args.trials, 2),
        "added_percent": round(100 * (sweep / alone - 1), 1),
    }
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    others = [
        r for r in known if (r["trials"], r.get("iterations")) != (args.trials, args.iterations)
    ]
    RESULTS.write_text(
        json.dumps([*others, found | {"iterations": args.iterations}], indent=1) + "\n"
    )
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
