"""Training steps of large networks with generated weights against plain steps of the same network.

`python -m bench.large` (one row: `--only resnet50:32`). Each measurement has a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from bench.steps import peak_of

RESULTS = Path(__file__).parent / "large.json"
TASKS, CLASSES = 10, 10  # the last task is measured, so nine past ones are regularized
STEPS, MAX_SECONDS = 5, 60.0


@dataclass(frozen=True)
class Size:
    """A network, its inputs, and its chunk size: the hypernetwork has a seventh of its weights."""

    network: str
    pixels: int
    batch: int
    chunk: int


SIZES = {
    "resnet50:32": Size("resnet50", 32, 128, 100_000),
    "resnet50:224": Size("resnet50", 224, 16, 100_000),
    "vit_b_16:32": Size("vit_b_16", 32, 128, 350_000),
    "vit_b_16:224": Size("vit_b_16", 224, 16, 350_000),
}
# kind of step -> the weights that HNET generates
KINDS = {"plain": None, "all": "all", "lora(8)": "lora(8)"}


def stepper(size: Size, generate: str | None) -> Callable[[], object]:
    """Build a training step: HNET's after nine tasks, or Adam's on the network itself."""
    from hcl.benchmarks.arrays import TaskData, TaskSplits
    from hcl.config import TrialConfig
    from hcl.methods import METHODS, Setup
    from hcl.networks.optim import make_adam
    from hcl.scenario import make_layout

    shape = (3, size.pixels, size.pixels)
    draws = torch.Generator().manual_seed(1)
    x = torch.rand(size.batch, *shape, generator=draws)
    y = torch.randint(CLASSES, (size.batch,), generator=draws) + (TASKS - 1) * CLASSES
    values = {
        "benchmark": {"name": "split_cifar100", "num_tasks": TASKS, "classes_per_task": CLASSES},
        "target": {"network": size.network},
        "method": {"name": "hnet", "generate": generate or "all", "chunk_size": size.chunk,
                   "hidden_sizes": [32, 32], "embedding_size": 32, "chunk_embedding_size": 32},
        "train": {"compile": "off"},
    }  # fmt: skip
    config = TrialConfig.from_dict(values)
    setup = Setup(config, make_layout(config, TASKS, CLASSES), shape)
    if generate is None:
        network = setup.build_network().train()
        optimizer = make_adam(network.parameters(), config.train)

        def plain() -> object:
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            return loss

        return plain
    method = METHODS["hnet"](setup)
    nothing = TaskData(torch.zeros(0, *shape), torch.zeros(0, dtype=torch.int64))
    method.start_task(TaskSplits(TASKS - 1, nothing, nothing, nothing))
    method.train()
    return lambda: method.train_step(x, y)


def measure(row: str, kind: str, threads: int) -> dict[str, Any]:
    """Measure a step's median seconds and its peak memory in a new process."""
    command = [
        sys.executable,
        "-m",
        "bench.large",
        "--inner",
        row,
        kind,
        "--threads",
        str(threads),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"row": row, "batch": SIZES[row].batch, "kind": kind, "threads": threads, **found}


def _inner(row: str, kind: str) -> None:
    from hcl.kernels.matmul import fastest_float32
    from hcl.training.process import keep_freed_memory

    keep_freed_memory()
    torch.optim.Adam([torch.zeros(1)])  # the first use imports a compiler
    times: list[float] = []

    def run() -> None:
        with fastest_float32():
            step = stepper(SIZES[row], KINDS[kind])
            while len(times) < 3 or (len(times) <= STEPS and sum(times) < MAX_SECONDS):
                began = time.perf_counter()
                step()
                times.append(time.perf_counter() - began)

    megabytes = peak_of(run)
    print(json.dumps({"seconds": round(statistics.median(times[1:]), 3),
                      "fastest": round(min(times[1:]), 3), "megabytes": round(megabytes),
                      "steps": len(times) - 1}))  # fmt: skip


def main() -> None:
    """Measure the chosen rows and replace them in bench/large.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--only", help=f"comma-separated rows, of {', '.join(SIZES)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--inner", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.inner:
        _inner(*args.inner)
        return
    rows = args.only.split(",") if args.only else list(SIZES)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for row in rows:
        found = [measure(row, kind, args.threads) for kind in KINDS]
        known = [old for old in known if old["row"] != row] + found
        RESULTS.write_text(json.dumps(known, indent=1) + "\n")
        plain = found[0]
        for line in found:
            times = f"{line['seconds']:.3f} s ({line['seconds'] / plain['seconds']:.2f}x)"
            memory = f"{line['megabytes']} MB ({line['megabytes'] / plain['megabytes']:.2f}x)"
            print(f"{row:14s} {line['kind']:8s} {times:20s} {memory}", flush=True)


if __name__ == "__main__":
    main()
