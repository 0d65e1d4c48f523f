"""Seeds trained as a batch against seeds in processes of their own.

`python -m bench.replicas --steps 40` measures steps per second over all replicas: in one process
with all threads, and in k processes with one thread each.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bench.steps import SETTINGS, batch, ours
from hcl.kernels.matmul import fastest_float32
from hcl.replicas.hnet_replicas import HnetReplicas
from hcl.training.process import keep_freed_memory

RESULTS = Path(__file__).parent / "replicas.json"
ROWS = ("split:4", "p10:9")  # setting and past tasks
COUNTS = (1, 2, 4, 8)
WARM_UP = 3


def main() -> None:
    """Measure the chosen rows and write bench/replicas.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.replicas", description=__doc__)
    parser.add_argument("--steps", type=int, default=40, help="timed steps of every replica")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", default=",".join(ROWS), metavar="SETTING:PAST,...")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    args = parser.parse_args()
    rows = []
    for row in args.only.split(","):
        for count in COUNTS:
            rows.append(compare(row, count, args.threads, args.steps, args.device))
            print(json.dumps(rows[-1]))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


def compare(row: str, count: int, threads: int, steps: int, device: str) -> dict[str, object]:
    """Measure a batch of `count` replicas, as many processes, and a trial alone.

    Args:
        row: SETTING:PAST_TASKS.
        count: how many replicas.
        threads: of a process that is alone.
        steps: timed steps of every replica.
        device: cpu or cuda.
    """
    return {
        "setting": row,
        "replicas": count,
        "threads": threads,
        "device": device,
        "batch_steps_per_second": round(_processes(row, 1, threads, steps, device, count), 2),
        "processes_steps_per_second": round(_processes(row, count, 1, steps, device), 2),
        "one_trial_steps_per_second": round(_processes(row, 1, threads, steps, device), 2),
        "load_at_end": round(os.getloadavg()[0], 1),
    }


def _processes(
    row: str, processes: int, threads: int, steps: int, device: str, count: int = 0
) -> float:
    """Return the steps per second over all replicas.

    All processes wait until the slowest is ready, and the slowest one's time counts.

    Args:
        row: SETTING:PAST_TASKS.
        processes: how many run at the same time.
        threads: of each process.
        steps: timed steps of every replica.
        device: cpu or cuda.
        count: replicas in each process's batch; 0 = an ordinary trial without a batch.
    """
    command = [sys.executable, "-m", "bench.replicas", "--worker", row, str(count), str(threads),
               str(steps), device]  # fmt: skip
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, **pipes) for _ in range(processes)]  # type: ignore[call-overload]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    seconds = max(float(worker.communicate()[0]) for worker in workers)
    return processes * max(1, count) * steps / seconds


def _worker(row: str, count: int, threads: int, steps: int, device: str) -> None:
    """Build, warm up, print "ready", wait for a line, then print the seconds of the steps."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    step = _stepper(row, count, device)
    with fastest_float32():
        for _ in range(WARM_UP):
            step()
        _wait(device)
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.perf_counter()
        for _ in range(steps):
            step()
        _wait(device)
        print(time.perf_counter() - began)


def _stepper(row: str, count: int, device: str) -> Callable[[], object]:
    name, past = row.split(":")
    sizes = SETTINGS[name]
    x, y = (part.to(device) for part in batch(sizes))
    y = y + int(past) * sizes.classes
    if count == 0:
        method = ours(sizes, int(past), device)
        return lambda: method.train_step(x, y)
    stack = HnetReplicas([ours(sizes, int(past), device, "off") for _ in range(count)])
    xs, ys = torch.stack([x] * count), torch.stack([y] * count)
    return lambda: stack.train_step(xs, ys)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        row, count, threads, steps, device = sys.argv[2:]
        _worker(row, int(count), int(threads), int(steps), device)
    else:
        main()
