"""Growth of a training step's time with the number of past tasks.

`python -m bench.growth` alternates steps with and without past tasks, for permuted-10 and
permuted-100 at the paper's sizes, the latter also with the regularizer's products in bfloat16
(`method/reg_precision`).
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from bench.steps import steppers
from hcl.training.process import keep_freed_memory

RESULTS = Path(__file__).parent / "growth.json"
SETTINGS = (("p10", 9, "float32"), ("p100", 99, "float32"), ("p100", 99, "bfloat16"))


def main() -> None:
    """Measure every setting and write bench/growth.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30, help="timed steps of each kind")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as the learner does
    found = [measure(*setting, options.steps) for setting in SETTINGS]
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def measure(name: str, num_past: int, precision: str, num_steps: int) -> dict[str, float | str]:
    """Return the median ms of a step with no past task and with `num_past`."""
    steps = [steppers(name, past, precision)["ours"]() for past in (0, num_past)]
    times: list[list[float]] = [[], []]
    for i in range(num_steps + 3):
        for step, taken in zip(steps, times, strict=True):
            step()  # not timed: it moves the other kind's tensors out of the cache
            began = time.perf_counter()
            step()
            if i >= 3:
                taken.append(1e3 * (time.perf_counter() - began))
    without, with_past = map(statistics.median, times)
    found: dict[str, float | str] = {
        "setting": name,
        "past_tasks": num_past,
        "reg_precision": precision,
        "without_ms": round(without, 2),
        "with_ms": round(with_past, 2),
        "growth": round(with_past / without, 2),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(found))
    return found


if __name__ == "__main__":
    main()
