"""Training steps of ours and of the reference, with the same sizes, batch, threads and process."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from hcl.benchmarks.arrays import TaskData, TaskSplits
from hcl.config import TrialConfig
from hcl.hypernets.plain import SETTINGS, PlainHnet, Sizes
from hcl.kernels.matmul import fastest_float32
from hcl.methods import Setup
from hcl.methods.hnet import Hnet
from hcl.scenario import OutputLayout

BATCH = 128
ROWS = ("split:0", "split:4", "p10:0", "p10:9", "p100:0", "p100:9", "p100:49", "p100:99")
MIN_STEPS, MAX_SECONDS = 5, 60.0  # per row and implementation; 20 steps if they fit


@dataclass(frozen=True)
class Row:
    """A line of the table; the ratio is reference time / our time."""

    setting: str
    past_tasks: int
    ours_ms: float
    reference_ms: float
    ratio: float
    ours_mb: float
    reference_mb: float
    threads: int
    steps: int
    device: str = "cpu"
    gflop: float | None = None  # in our step's matrix products
    peak_share: float | None = None  # our GFLOP/s / the GFLOP/s of large products


def ours(
    sizes: Sizes,
    num_past: int,
    device: str = "cpu",
    compiled: str = "auto",
    precision: str = "float32",
    kernels: str = "fast",
) -> Hnet:
    """Build our method in the state of `PlainHnet(sizes, num_past)`, after that many tasks."""
    config = TrialConfig.from_dict(
        {
            "benchmark": {"name": "permuted_mnist", "num_tasks": sizes.num_tasks},
            "target": {"hidden_sizes": list(sizes.hidden)},
            "method": {
                "name": "hnet",
                "beta": sizes.beta,
                "embedding_size": sizes.embedding,
                "chunk_embedding_size": sizes.chunk_embedding,
                "chunk_size": sizes.chunk,
                "hidden_sizes": list(sizes.hypernet),
                "activation": sizes.activation,
                "reg_precision": precision,
            },
            "train": {"lr": sizes.lr, "compile": compiled, "kernels": kernels},
        }
    )
    layout = OutputLayout("task", sizes.num_tasks, sizes.classes)
    method = Hnet(Setup(config, layout, (sizes.inputs,))).to(device)
    nothing = TaskData(torch.zeros(0, sizes.inputs), torch.zeros(0, dtype=torch.int64))
    method.start_task(TaskSplits(num_past, nothing, nothing, nothing))
    return method.train()


def batch(sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Draw inputs (BATCH, inputs) in [0, 1] and labels (BATCH,) within the task."""
    draws = torch.Generator().manual_seed(1)
    x = torch.rand(BATCH, sizes.inputs, generator=draws)
    return x, torch.randint(sizes.classes, (BATCH,), generator=draws)


def steppers(
    name: str, num_past: int, precision: str = "float32", device: str = "cpu"
) -> dict[str, Callable[[], Callable[[], object]]]:
    """Return for each implementation a function that builds it and returns its step."""
    sizes = SETTINGS[name]
    x, y = (tensor.to(device) for tensor in batch(sizes))

    def build_ours() -> Callable[[], object]:
        method = ours(sizes, num_past, device, precision=precision)
        target = y + num_past * sizes.classes

        def step() -> object:
            with fastest_float32():  # as in the learner; the reference uses torch's defaults
                return method.train_step(x, target)

        return step

    def build_reference() -> Callable[[], object]:
        with torch.device(device):
            reference = PlainHnet(sizes, num_past)
        return lambda: reference.step(x, y)

    return {"ours": build_ours, "reference": build_reference}


def measure(spec: str, device: str = "cpu") -> Row:
    """Measure a row: times of alternating steps, and memory in a process of its own each.

    The steps alternate because the machine's speed varies: both meet the same conditions.
    """
    name, past = spec.split(":")
    build = steppers(name, int(past), device=device)
    steps = {which: make() for which, make in build.items()}
    for step in steps.values():
        step()
        step()
    times: dict[str, list[float]] = {which: [] for which in steps}
    began = time.perf_counter()
    while len(times["ours"]) < 20:
        for which, step in steps.items():
            start = time.perf_counter()
            step()
            wait_for(device)
            times[which].append(1e3 * (time.perf_counter() - start))
        if len(times["ours"]) >= MIN_STEPS and time.perf_counter() - began > 2 * MAX_SECONDS:
            break
    mine, theirs = (statistics.median(times[which]) for which in ("ours", "reference"))
    memory = {which: peak_memory(spec, which, device) for which in steps}
    return Row(name, int(past), mine, theirs, theirs / mine, memory["ours"], memory["reference"],
               torch.get_num_threads(), len(times["ours"]), device)  # fmt: skip


def wait_for(device: str) -> None:
    """Wait until the device has done its work; a GPU works while Python continues."""
    if device != "cpu":
        torch.accelerator.synchronize()


def peak_memory(spec: str, which: str, device: str = "cpu") -> float:
    """Return the peak MB of three steps, without the imports (on a GPU: of its own memory)."""
    threads = str(torch.get_num_threads())
    command = [sys.executable, "-m", "bench.steps", spec, which, threads, device]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def _report_memory(spec: str, which: str, threads: str, device: str) -> None:
    torch.set_num_threads(int(threads))
    name, past = spec.split(":")
    make = steppers(name, int(past), device=device)[which]
    torch.optim.Adam([torch.zeros(1)])  # the first use imports a compiler

    def run() -> None:
        step = make()
        for _ in range(3):
            step()

    if device == "cpu":
        print(peak_of(run))
        return
    run()
    print(torch.accelerator.max_memory_allocated() / 2**20)


def peak_of(run: Callable[[], None]) -> float:
    """Return the MB that `run` needs at its peak, beyond what the process has now."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak (Linux)
    run()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    """Read a number of kB from /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def as_dict(row: Row) -> dict[str, object]:
    """Return the row as results.json stores it, numbers rounded."""
    return {k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(row).items()}


if __name__ == "__main__":
    _report_memory(*sys.argv[1:])
