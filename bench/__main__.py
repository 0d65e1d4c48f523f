"""`python -m bench [--only p10:9,...] [--threads 2] [--device cuda]`: a table, and
bench/results.json."""

import argparse
import json
import platform
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from bench.reference import SETTINGS
from bench.steps import ROWS, Row, as_dict, measure
from hcl.memory import keep_freed_memory

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    """Measure the rows asked for; a row measured before is replaced in results.json."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", help=f"rows, of {', '.join(ROWS)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="of both")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device here; leave it out")
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as the learner does; the reference has it too
    console = Console()
    rows = args.only.split(",") if args.only else ROWS
    for row in rows:
        if not _is_row(row):
            parser.error(f"unknown row {row!r}; rows are SETTING:PAST_TASKS, e.g. {ROWS[3]}")
    done = []
    for spec in rows:
        with console.status(f"measuring {spec}"):
            done.append(measure(spec, args.device))
        console.print(_line(done[-1]))
    _write(done)
    console.print(_table(done))


def _is_row(row: str) -> bool:
    name, _, past = row.partition(":")
    return name in SETTINGS and past.isdecimal() and int(past) < SETTINGS[name].num_tasks


def _line(row: Row) -> str:
    return f"{row.setting}:{row.past_tasks} {row.ours_ms:.1f} ms, {row.ratio:.1f}x the reference"


def _table(rows: list[Row]) -> Table:
    table = Table("setting", "past tasks", "ours ms", "reference ms", "ratio", "ours MB",
                  "reference MB", title=f"training step, {_machine(rows[0])},"
                  f" torch {torch.__version__}, {platform.machine()}")  # fmt: skip
    for r in rows:
        table.add_row(r.setting, str(r.past_tasks), f"{r.ours_ms:.1f}", f"{r.reference_ms:.1f}",
                      f"{r.ratio:.2f}", f"{r.ours_mb:.0f}", f"{r.reference_mb:.0f}")  # fmt: skip
    return table


def _machine(row: Row) -> str:
    if row.device == "cpu":
        return f"{row.threads} threads"
    return str(torch.cuda.get_device_name())


def _write(rows: list[Row]) -> None:
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    found = [as_dict(row) for row in rows]
    measured = [_place(row) for row in found]
    kept = [old for old in before if _place(old) not in measured]
    RESULTS.write_text(json.dumps(kept + found, indent=1) + "\n")


def _place(row: dict[str, object]) -> tuple[object, ...]:
    return row["setting"], row["past_tasks"], row.get("device", "cpu")


if __name__ == "__main__":
    main()
