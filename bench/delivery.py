"""Cost of delivering runs to a real MLflow server.

`python -m bench.delivery --tracking-uri http://127.0.0.1:5000 [--runs 1000]` writes journals of
trials that learned nothing and delivers them as a driver does after an outage: one after the
other (--at-a-time 1), then several at a time. With `--rate 10` ten trials end each second
instead, each delivered by a thread of its own as workers do; measured is how long after its end a
run is complete in MLflow.
"""

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from sweeps.records.journal import Journal
from sweeps.tracking import Store, deliver, delivery, prepare

HERE = Path(__file__).parent
RESULTS = HERE / "delivery.json"
NUM_TASKS = 5


def main() -> None:
    """Measure, and add what was found to bench/delivery.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.delivery", description=__doc__)
    parser.add_argument("--tracking-uri", required=True)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--at-a-time", type=int, nargs="+", default=[1, delivery.AT_A_TIME])
    parser.add_argument("--rate", type=float, default=0.0, help="trials that end each second")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    found = json.loads(args.out.read_text()) if args.out.exists() else {}
    found |= {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.0f}",
        "measured": time.strftime("%F %T%z"),
    }
    with tempfile.TemporaryDirectory() as name:
        if args.rate:
            found["rate"] = measure_rate(args.tracking_uri, Path(name), args.runs, args.rate)
        for count in [] if args.rate else args.at_a_time:
            delivery.AT_A_TIME = count
            folder = Path(name) / str(count)
            found[f"{count} at a time"] = measure_all(args.tracking_uri, folder, args.runs)
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def measure_all(uri: str, folder: Path, num_runs: int) -> dict[str, float]:
    """Deliver journals that are complete, as after an outage."""
    store, folders = make(uri, folder, num_runs)
    began, cpu = time.monotonic(), time.process_time()
    assert all(delivery.deliver_all(store, folders, None))
    wall, spent = time.monotonic() - began, time.process_time() - cpu
    return {"runs": num_runs, "wall_s": round(wall, 2), "driver_cpu_s": round(spent, 2)}


def measure_rate(uri: str, folder: Path, num_runs: int, rate: float) -> dict[str, float]:
    """Let trials end at a rate; return the seconds until each is complete in MLflow."""
    store, folders = make(uri, folder, num_runs)
    waited: list[float] = []

    def send(path: Path) -> None:
        began = time.monotonic()
        assert deliver(store, path, None)
        waited.append(time.monotonic() - began)

    threads = []
    for path in folders:
        threads.append(threading.Thread(target=send, args=(path,)))
        threads[-1].start()
        time.sleep(1 / rate)
    for thread in threads:
        thread.join()
    assert len(waited) == num_runs
    waited.sort()
    at = {"median_s": 0.5, "p95_s": 0.95, "longest_s": 1.0}
    found = {name: round(waited[int(part * (num_runs - 1))], 2) for name, part in at.items()}
    return {"runs": num_runs, "rate": rate, **found}


def make(uri: str, folder: Path, num_runs: int) -> tuple[Store, list[Path]]:
    """Prepare the store, and write the journals of trials that have ended."""
    name = f"delivery-{time.time():.0f}-{folder.name}"
    store = Store(uri, None, name)
    prepare(store)
    config: dict[str, Any] = {"method/name": "hnet", "scenario": "task"}
    config["benchmark/name"] = "split_digits"
    config |= {f"train/setting_{n}": n for n in range(30)}
    matrix = [[0.9] * (task + 1) for task in range(NUM_TASKS)]
    folders = [folder / f"{number:04d}/seed_1" for number in range(num_runs)]
    for number, path in enumerate(folders):
        journal = Journal(path)
        journal.append("start", run_key=f"{name}/{number:04d}/seed_1", sweep=name, trial=number,
                       seed=1, phase="search", params=config)  # fmt: skip
        for learned in range(1, NUM_TASKS + 1):
            metrics = {"val/task/average_accuracy": 0.9, "test/task/average_accuracy": 0.9}
            journal.append("task", tasks_learned=learned, metrics=metrics, seconds=0.1)
        journal.append("end", metrics=metrics, accuracy={"test/task": matrix}, status="FINISHED")
    return store, folders


if __name__ == "__main__":
    main()
