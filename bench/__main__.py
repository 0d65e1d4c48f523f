"""`python -m bench [--only p10:9,...] [--threads 2]`: a table, and bench/results.json."""

import argparse
import json
import platform
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from bench.steps import ROWS, Row, as_dict, measure
from hcl.memory import keep_freed_memory

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    """Measure the rows asked for; a row measured before is replaced in results.json."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", help=f"rows, of {', '.join(ROWS)}")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as the learner does; the reference has it too
    console = Console()
    rows = args.only.split(",") if args.only else ROWS
    unknown = [row for row in rows if row.split(":")[0] not in ("split", "p10", "p100")]
    if unknown:
        parser.error(f"unknown row {unknown[0]}; rows are SETTING:PAST_TASKS, e.g. p10:9")
    done = []
    for spec in rows:
        with console.status(f"measuring {spec}"):
            done.append(measure(spec))
        console.print(_line(done[-1]))
    _write(done)
    console.print(_table(done))


def _line(row: Row) -> str:
    return f"{row.setting}:{row.past_tasks} {row.ours_ms:.1f} ms, {row.ratio:.1f}x the reference"


def _table(rows: list[Row]) -> Table:
    table = Table("setting", "past tasks", "ours ms", "reference ms", "ratio", "ours MB",
                  "reference MB", title=f"training step, {rows[0].threads} threads,"
                  f" torch {torch.__version__}, {platform.machine()}")  # fmt: skip
    for r in rows:
        table.add_row(r.setting, str(r.past_tasks), f"{r.ours_ms:.1f}", f"{r.reference_ms:.1f}",
                      f"{r.ratio:.2f}", f"{r.ours_mb:.0f}", f"{r.reference_mb:.0f}")  # fmt: skip
    return table


def _write(rows: list[Row]) -> None:
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    measured = {(r.setting, r.past_tasks) for r in rows}
    kept = [old for old in before if (old["setting"], old["past_tasks"]) not in measured]
    RESULTS.write_text(json.dumps(kept + [as_dict(r) for r in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
