"""Have a GPU? `make gpu`, or `python -m bench.gpu` where only torch, torchvision and numpy are.

Checks every method on it, then times training steps and batches of replicas, and writes
bench/gpu.json and bench/gpu.md. `--quick` leaves the timings out. Exit status 1: a check failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.gpu.checks import Check, agrees, bounded, cells, resumes, write_data
from bench.gpu.page import page
from hcl.config.methods import METHOD_CONFIGS

HERE = Path(__file__).parent.parent
ROWS = ("split:4", "p10:9", "p100:49")
REPLICAS = (1, 4, 16)
SHARERS = 4  # trainings on one card at a time


def main() -> None:
    """Check, time, write."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...; cpu tries the script")
    parser.add_argument("--quick", action="store_true", help="the checks alone")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of gpu.json and gpu.md")
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"--device {args.device}: torch finds no GPU; use a machine that has one")
    began = time.monotonic()
    checks = []
    for check in every_check(args.device):
        said = check.problem or "holds"
        print(f"{time.monotonic() - began:6.0f} s  {check.name}: {said}", flush=True)
        checks.append(check)
    found: dict[str, Any] = {
        "machine": machine(args.device),
        "measured": time.strftime("%F %T%z"),
        "checks": [vars(check) for check in checks],
    }
    if not args.quick:
        found |= {"steps": steps(args.device), "replicas": replicas(args.device)}
    (args.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    (args.out / "gpu.md").write_text(page(found))
    failed = sum(bool(check.problem) for check in checks)
    print(f"{len(checks) - failed} of {len(checks)} checks hold; see {args.out / 'gpu.md'}")
    sys.exit(failed > 0)


def every_check(device: str) -> Iterator[Check]:
    """Make the checks one by one."""
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder))
        trials: list[Callable[[Path, str], Check]] = [partial(agrees, cell) for cell in cells()]
        trials += [partial(resumes, method) for method in METHOD_CONFIGS]
        if device.startswith("cuda"):
            trials += [bounded, shared]
        for check in trials:
            yield check(data, device)


def shared(data: Path, device: str) -> Check:
    """Train four trials on one card at a time, as `--gpus-per-trial 0.25` does."""
    sets = ["benchmark/sequence=split", f"benchmark/data={data}", "benchmark/num_tasks=2"]
    command = [sys.executable, "-m", "hcl", "--device", device, "--set", *sets,
               "train/iterations=100"]  # fmt: skip
    runs = [
        subprocess.Popen(
            [*command, f"seed={seed}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(1, 1 + SHARERS)
    ]
    said = [run.communicate()[1] for run in runs]
    failed = [err.splitlines()[-1] for run, err in zip(runs, said, strict=True) if run.returncode]
    return Check(f"{SHARERS} trainings share the card", failed[0] if failed else "")


def steps(device: str) -> list[dict[str, object]]:
    """Time steps of ours and of the plain algorithm on the same device."""
    from bench.steps import as_dict, measure

    rows = []
    for tf32 in (False, True) if device.startswith("cuda") else (False,):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        for spec in ROWS:
            rows.append(as_dict(measure(spec, device)) | {"tf32": tf32})
            print(f"step {spec}, tf32 {tf32}: {rows[-1]['ours_ms']} ms", flush=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    return rows


def replicas(device: str) -> list[dict[str, object]]:
    """Time batches of k replicas against k processes on the same card."""
    from bench.replicas import compare

    rows = []
    for spec in ROWS[:2]:
        for count in REPLICAS:
            rows.append(compare(spec, count, threads=2, steps=100, device=device))
            print(f"replicas {spec}, {count}: {rows[-1]}", flush=True)
    return rows


def machine(device: str) -> dict[str, object]:
    """Describe what was measured on."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "no GPU"
    return {"device": device, "name": name, "torch": torch.__version__, "cpus": os.cpu_count()}


if __name__ == "__main__":
    main()
