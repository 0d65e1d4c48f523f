"""Cost of a long sweep for its driver.

`python -m bench.scale [--trials 1000] [--slots 64]` runs a sweep whose trials learn nothing: five
times they sleep, write a task's record and report it. Everything else is real: the driver, Ray
Tune with a worker process per slot, the study and MLflow's store in sqlite. The workers deliver
nothing to MLflow (64 processes with MLflow do not fit on a laptop). The driver delivers every run
at the end, as after an outage; this is timed separately.
"""

import argparse
import functools
import itertools
import json
import os
import platform
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeps.launch.request import SweepRequest
from sweeps.records.folder import SweepFolder
from sweeps.space.search_space import SearchSpace, parse
from sweeps.space.yaml_file import parse_yaml

HERE = Path(__file__).parent
RESULTS, PLOT = HERE / "scale.json", HERE.parent / "docs" / "scale.png"
NUM_TASKS = 5
EVERY = 100  # trials between two measurements
SPACE = """
description: trials that learn nothing
trial:
  benchmark: {name: split_digits, val_fraction: 0.2}
  method: {name: hnet}
search:
  method/beta: {type: float, low: 1.0e-4, high: 1.0, log: true}
  method/embedding_size: {type: int, low: 4, high: 32, step: 4}
  method/chunk_embedding_size: {type: int, low: 4, high: 32, step: 4}
  method/chunk_size: {type: int, low: 200, high: 4000, log: true}
  method/hidden_sizes: {type: choice, values: [[10, 10], [25, 25], [50, 50]]}
  train/lr: {type: float, low: 3.0e-4, high: 1.0e-2, log: true}
"""


class Meter:
    """A meter that reads the driver's clocks and memory after every EVERY trials."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.ended, self.searching, self._depth = 0, 0.0, 0
        self.began, self.last_end = time.monotonic(), 0.0

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Add the time of a call to the search; calls within calls count once."""
        self._depth += 1
        start = time.thread_time()
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self.searching += time.thread_time() - start

    def end(self) -> None:
        """Count an ended trial."""
        self.ended += 1
        self.last_end = time.monotonic()
        if self.ended % EVERY == 0 or self.ended == 1:
            self.read()

    def read(self) -> None:
        """Record the clocks and the memory now."""
        row = {
            "trials": self.ended,
            "wall_s": time.monotonic() - self.began,
            "driver_cpu_s": time.process_time(),
            "search_cpu_s": self.searching,
            "driver_mb": _resident_mb(),
            "load": os.getloadavg()[0],
        }
        self.rows.append({key: round(value, 3) for key, value in row.items()})
        print(json.dumps(self.rows[-1]), flush=True)


METER = Meter()


def main() -> None:
    """Run the sweep, ask the records afterwards, write bench/scale.json and docs/scale.png."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--sampler", default="tpe")
    # With much shorter tasks Ray starts a process for each trial instead of using one again.
    parser.add_argument("--task-seconds", type=float, default=4.0, help="how long a task sleeps")
    parser.add_argument(
        "--alone", action="store_true", help="measure only the search, without Ray and MLflow"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--plot", type=Path, default=PLOT)
    args = parser.parse_args()
    space = parse(parse_yaml(SPACE), "scale").with_sweep(
        num_trials=args.trials, sampler=args.sampler, max_concurrent_trials=args.slots
    )
    with tempfile.TemporaryDirectory() as storage:
        if args.alone:
            alone(space, args.slots, Path(storage))
            known = _read(args.out).get("alone", {})
            keep({"alone": {**known, args.sampler: METER.rows}}, args.out, args.plot)
            return
        request = SweepRequest(space, SweepFolder(Path(storage), space.name))
        timings = {**run(request, args.slots, args.task_seconds), **ask(request)}
    about = {
        "command": f"python -m bench.scale --trials {args.trials} --slots {args.slots}"
        f" --sampler {args.sampler}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, shared with other work",
        "measured": time.strftime("%F %T%z"),
    }
    keep({**about, "rows": METER.rows, **timings}, args.out, args.plot)
    print(json.dumps(timings, indent=1))


def alone(space: SearchSpace, slots: int, storage: Path) -> None:
    """Measure the search alone: `slots` trials are under way, each reports its tasks and ends."""
    from sweeps.study.searcher import OptunaSearch

    search = metered(OptunaSearch)(space, space.name, f"sqlite:///{storage / 'study.db'}")
    live: deque[tuple[str, float]] = deque()
    METER.began = time.monotonic()
    for number in range(space.sweep.num_trials):
        beta = search.suggest(f"t{number}")["params"]["method/beta"]
        live.append((f"t{number}", 1 / (1 + beta)))
        while len(live) == slots or (live and number == space.sweep.num_trials - 1):
            trial_id, value = live.popleft()
            for learned in range(1, NUM_TASKS + 1):
                row = {"objective": value, "tasks_learned": learned, "num_tasks": NUM_TASKS}
                search.should_stop(trial_id, row)
            search.on_trial_complete(trial_id, row)


def keep(found: dict[str, Any], out: Path, plot: Path) -> None:
    """Add the findings to those of earlier runs in `out`, and draw them all."""
    found = {**_read(out), **found}
    out.write_text(json.dumps(found, indent=1) + "\n")
    draw(found, plot)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def run(request: SweepRequest, slots: int, task_seconds: float) -> dict[str, float]:
    """Run the sweep; return the seconds of its end, which delivers all runs."""
    import ray
    from rich.console import Console

    from sweeps.launch import resume
    from sweeps.launch import run_sweep as driver

    # The driver looks up both names when it starts.
    driver.run_suggestion = functools.partial(sleep_instead, task_seconds)
    resume.OptunaSearch = metered(resume.OptunaSearch)  # type: ignore[misc]
    # Without "local" Ray would join a cluster that runs on this machine.
    ray.init("local", num_cpus=slots, include_dashboard=False, log_to_driver=False)
    METER.began = time.monotonic()
    try:
        outcome = driver.run_sweep(request, Console(stderr=True))
    finally:
        ray.shutdown()
    delivered = time.monotonic() - METER.last_end
    assert (outcome.num_trials, outcome.undelivered) == (request.space.sweep.num_trials, 0)
    return {"end_s": round(delivered, 3)}


def ask(request: SweepRequest) -> dict[str, float]:
    """Time reading the records: the study, the runs, a report, a delivery."""
    import optuna

    from sweeps.reports.report import report
    from sweeps.study.storage import open_storage
    from sweeps.tracking import runs_frame
    from sweeps.tracking.sync import sync_sweep

    name, store = request.folder.name, request.store
    study = optuna.load_study(study_name=name, storage=open_storage(request.folder.study_url))
    questions: dict[str, Callable[[], Any]] = {
        "study_get_trials_s": study.get_trials,
        "runs_frame_s": lambda: runs_frame(store, name),
        "report_s": lambda: report(name, store),
        "sync_again_s": lambda: sync_sweep(request.folder, store),
    }
    found = {}
    for question, answer in questions.items():
        start = time.monotonic()
        answer()
        found[question] = round(time.monotonic() - start, 3)
    return found


def sleep_instead(
    task_seconds: float, plan: Any, suggestion: dict[str, Any], report: Callable[..., None]
) -> None:
    """Sleep for each task, write records and report, as a trial does; train nothing."""
    from sweeps.records.journal import Journal

    space, folder = plan.space, plan.folder  # a worker can load these without torch or Optuna
    number = suggestion["number"]
    config = space.trial_config(suggestion["params"], seed=1).to_dict()
    accuracy = 1 / (1 + config["method/beta"] + config["train/lr"])
    journal = Journal(folder.seed_folder(number, 1))
    key = f"{folder.name}/{number:04d}/seed_1"
    journal.append("start", run_key=key, sweep=folder.name, trial=number, seed=1,
                   phase="search", params=config)  # fmt: skip
    for learned in range(1, NUM_TASKS + 1):
        time.sleep(task_seconds)
        metrics = {"val/task/average_accuracy": accuracy, "test/task/average_accuracy": 0.5}
        journal.append("task", tasks_learned=learned, metrics=metrics, seconds=0.1)
        if learned == NUM_TASKS:
            journal.append("end", metrics=metrics, status="FINISHED")
        report({"objective": accuracy, "tasks_learned": learned, "num_tasks": NUM_TASKS})


def metered(kind: type[Any]) -> type[Any]:
    """Derive a search class that measures what Ray calls."""

    def timed(name: str) -> Callable[..., Any]:
        method = getattr(kind, name)

        @functools.wraps(method)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            with METER.asked():
                answer = method(self, *args, **kwargs)
            if name == "on_trial_complete":
                METER.end()
            return answer

        return call

    names = ("suggest", "on_trial_result", "should_stop", "on_trial_complete")
    return type("MeteredSearch", (kind,), {name: timed(name) for name in names})


def draw(found: dict[str, Any], path: Path) -> None:
    """Plot the CPU seconds per trial of each hundred trials, and the driver's memory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    rows = found.get("rows", [])
    lines = {
        "driver": (rows, "driver_cpu_s"),
        "of this, the search": (rows, "search_cpu_s"),
        **{
            f"search alone, {name}": (its_rows, "search_cpu_s")
            for name, its_rows in found.get("alone", {}).items()
        },
    }
    for label, (its_rows, key) in lines.items():
        pairs = list(itertools.pairwise(its_rows))
        per_trial = [(b[key] - a[key]) / (b["trials"] - a["trials"]) for a, b in pairs]
        seconds.plot([b["trials"] for _, b in pairs], per_trial, marker="o", label=label)
    seconds.set(xlabel="trials ended", ylabel="CPU seconds per trial", ylim=(0, None))
    seconds.legend(fontsize="small")
    memory.plot([row["trials"] for row in rows], [row["driver_mb"] for row in rows], marker="o")
    memory.set(xlabel="trials ended", ylabel="resident memory of the driver, MB")
    memory.set_ylim(0, 1.15 * max([1.0, *(row["driver_mb"] for row in rows)]))
    figure.savefig(path, dpi=100)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
