"""Training steps, evaluation and whole trainings of every method, on this machine.

`python -m bench.methods` times a step of each method in the last task of split MNIST and of
permuted MNIST, and of ResNet-32 and ZenkeNet in float32 and bfloat16, beside the speed of large
matrix products; `--trainings` also trains split MNIST at the paper's settings, from start to
result. Data are random numbers of MNIST's and CIFAR's shapes; settings are those of the tables
(search_spaces/tables). Avalanche's steps are timed beside ours if it is installed.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from bench.avalanche import avalanche_steps
from bench.peak import fused_layers, peak_gflops
from bench.steps import wait_for
from hcl import seeding
from hcl.benchmarks.arrays import TaskData, TaskSplits
from hcl.config import TrialConfig
from hcl.kernels.matmul import fastest_float32
from hcl.methods import Method, Setup, make_method
from hcl.scenario import make_layout
from hcl.training.learner import run
from hcl.training.process import Runtime, keep_freed_memory
from sweeps.reproduction.table_file import load_table

RESULTS = Path(__file__).parent / "methods.json"
SAMPLES, PAST_STEPS, STEPS, MAX_SECONDS = 512, 2, 30, 10.0
# What the tables lack: other methods on the settings of fine-tuning.
OTHERS = ("finetune", "lwf", "er")


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        setting: of the tables.
        method: its label.
        step_ms: median time of a training step.
        gflop: in the step's matrix products and convolutions.
        peak_share: GFLOP/s of the step / GFLOP/s of large float32 products; on the CPU alone.
        evaluation_ms: for 1,000 inputs of one task.
    """

    setting: str
    method: str
    step_ms: float
    gflop: float
    peak_share: float | None
    evaluation_ms: float


def trials() -> Iterator[tuple[str, str, TrialConfig]]:
    """Give (setting, method's label, trial): the tables' cells, and other methods."""
    table = load_table("table1")
    for setting, row in (("split", "S-CL3"), ("p10", "P10-CL3")):
        cells = [cell for cell in table.cells if cell.row == row]
        for cell in cells:
            yield setting, table.columns[cell.column], cell.config
        plain = next(cell.config for cell in cells if cell.column == "si").to_dict()
        shared = {key: value for key, value in plain.items() if not key.startswith("method/")}
        for name in OTHERS:
            yield setting, name, TrialConfig.from_dict({**shared, "method/name": name})
    for cell in load_table("cifar").cells:
        if cell.column in ("hnet", "finetune"):
            for precision in ("float32", "bfloat16"):
                train = replace(cell.config.train, precision=precision)
                yield cell.row, f"{cell.column}, {precision}", replace(cell.config, train=train)


def in_last_task(config: TrialConfig, device: str) -> tuple[Method, Callable[[], object]]:
    """Train a method for a few steps on each task but the last; return it and its next step."""
    is_image = config.target.network != "mlp"
    shape = (3, 32, 32) if is_image else (32 * 32,) if config.benchmark.padding else (28 * 28,)
    num_tasks = config.benchmark.num_tasks
    layout = make_layout(config, num_tasks, config.benchmark.classes_per_task)
    with seeding.isolated(config.seed, "trial"):
        method = make_method(Setup(config, layout, shape)).to(device)
    method.train()
    for task_id in range(num_tasks):
        task = random_task(task_id, shape, layout.sizes[task_id], device)
        method.start_task(task)
        x, y = task.train.batch(torch.arange(config.train.batch_size, device=device))
        target = y if config.scenario == "domain" else y + layout.head(task_id).start
        if task_id < num_tasks - 1:
            for _ in range(PAST_STEPS):
                method.train_step(x, target)
            method.end_task(task)
    return method, lambda: method.train_step(x, target)


def random_task(task_id: int, shape: tuple[int, ...], classes: int, device: str) -> TaskSplits:
    """Draw a task of some samples."""
    draws = torch.Generator().manual_seed(task_id)
    x = torch.randint(0, 256, (SAMPLES, *shape), generator=draws, dtype=torch.uint8).to(device)
    y = torch.randint(classes, (SAMPLES,), generator=draws).to(device)
    data = TaskData(x, y)
    return TaskSplits(task_id, data, data, data, tuple(range(classes)))


def measure(setting: str, label: str, config: TrialConfig, device: str) -> Row:
    """Time the steps of one method, and its answers."""
    compiled = replace(config, train=replace(config.train, compile="off"))  # it cannot be counted
    with fastest_float32():
        _, step = in_last_task(compiled, device)
        with FlopCounterMode(display=False, custom_mapping=fused_layers()) as counter:
            step()
        method, step = in_last_task(config, device)
        step_ms = median_ms(step, device)
        method.eval()
        x = torch.rand(1000, *method.setup.input_shape, device=device)
        task_id = method.task_id if config.scenario == "task" else None
        with torch.no_grad():
            evaluation_ms = median_ms(lambda: method.predict(x, task_id), device)
    gflop = counter.get_total_flops() / 1e9
    share = 1e3 * gflop / step_ms / peak_gflops() if device == "cpu" else None
    return Row(setting, label, step_ms, gflop, share, evaluation_ms)


def median_ms(call: Callable[[], object], device: str) -> float:
    """Time a call some times, after a warm-up."""
    for _ in range(3):
        call()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < STEPS and time.perf_counter() - began < MAX_SECONDS:
        start = time.perf_counter()
        call()
        wait_for(device)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def trainings(device: str, threads: int, console: Console) -> Iterator[dict[str, object]]:
    """Train split MNIST from start to result with the settings of Table 1, CL3."""
    for cell in load_table("table1").cells:
        if cell.row == "S-CL3":
            began = time.perf_counter()
            result = run(cell.config, runtime=Runtime(device=device, threads=threads))
            seconds = round(time.perf_counter() - began, 1)
            score = result.metrics[cell.metric]
            yield {"method": cell.column, "seconds": seconds, cell.metric: score}
            console.print(f"{cell.column}: {seconds} s from start to result, {score:.2%}")


def table_of(rows: list[Row], title: str) -> Table:
    """Lay the rows out."""
    table = Table("setting", "method", "step ms", "GFLOP", "of peak", "1,000 inputs ms",
                  box=SIMPLE_HEAD, pad_edge=False, title=title)  # fmt: skip
    for r in rows:
        share = "" if r.peak_share is None else f"{r.peak_share:.0%}"
        table.add_row(r.setting, r.method, f"{r.step_ms:.1f}", f"{r.gflop:.2f}", share,
                      f"{r.evaluation_ms:.1f}")  # fmt: skip
    return table


def main() -> None:
    """Measure what was asked for and write bench/methods.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.methods",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="settings or methods, comma-separated")
    parser.add_argument("--threads", type=int, default=2, help="of torch, default 2")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--trainings", action="store_true", help="whole trainings too (minutes)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as the learner does
    console, wanted = Console(), set(filter(None, args.only.split(",")))
    chosen = [t for t in trials() if not wanted or {t[0], t[1], t[2].method_name} & wanted]
    if not chosen:
        parser.error(f"--only {args.only}: no such setting or method")
    rows = []
    for setting, label, config in chosen:
        with console.status(f"measuring {setting}, {label}"):
            rows.append(measure(setting, label, config, args.device))
        console.print(f"{setting}, {label}: {rows[-1].step_ms:.1f} ms a step")
    peak = peak_gflops()
    title = f"{args.threads} threads, {peak:.0f} GFLOP/s in large products, {platform.machine()}"
    console.print(table_of(rows, title))
    found: dict[str, object] = {"threads": args.threads, "device": args.device}
    found |= {"peak_gflops": round(peak), "steps": [asdict(row) for row in rows]}
    found["avalanche"] = avalanche_steps(args.device)
    console.print(f"Avalanche: {found['avalanche'] or 'not installed'}")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    if args.trainings:
        found["trainings"] = list(trainings(args.device, args.threads, console))
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
