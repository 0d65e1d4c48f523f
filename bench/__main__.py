"""Training steps of ours against the plain algorithm: a table and bench/results.json.

`python -m bench [--only p10:9,...] [--threads 2] [--device cuda]`. The table also shows how much
of the speed of large matrix products a step reaches.
"""

import argparse
import json
import math
import platform
from dataclasses import replace
from pathlib import Path

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.peak import peak_gflops, print_profile, step_gflop
from bench.steps import ROWS, Row, as_dict, measure
from hcl.hypernets.plain import SETTINGS
from hcl.training.process import keep_freed_memory

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    """Measure the chosen rows and replace them in bench/results.json."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", help=f"comma-separated rows, e.g. {','.join(ROWS)}")
    parser.add_argument("--threads", type=int, default=2, help="of torch, default 2")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="for both")
    parser.add_argument(
        "--profile", action="store_true", help="only show where a step's time goes"
    )
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device; leave the option out")
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as the learner does; the reference profits from it too
    console = Console()
    rows = args.only.split(",") if args.only else ROWS
    for row in rows:
        if not _is_row(row):
            parser.error(f"unknown row {row!r}; a row is SETTING:PAST_TASKS, e.g. {ROWS[3]}")
    if args.profile:
        for spec in rows:
            print_profile(spec)
        return
    peak, done = 0.0, []
    for spec in rows:
        with console.status(f"measuring {spec}"):
            done.append(measure(spec, args.device))
            peak = max(
                peak, peak_gflops()
            )  # after every row, because neighbours may be busy during one
        console.print(_line(done[-1]))
    console.print(f"large float32 products: {peak:.0f} GFLOP/s")
    done = [_with_share(row, spec, peak) for row, spec in zip(done, rows, strict=True)]
    _write(done)
    console.print(_table(done))


def _is_row(row: str) -> bool:
    name, _, past = row.partition(":")
    return name in SETTINGS and past.isdecimal() and int(past) < SETTINGS[name].num_tasks


def _line(row: Row) -> str:
    return f"{row.setting}:{row.past_tasks} {row.ours_ms:.1f} ms, {row.ratio:.1f}x the reference"


def _with_share(row: Row, spec: str, peak: float) -> Row:
    if row.device != "cpu":
        return row
    gflop = step_gflop(spec)
    return replace(row, gflop=gflop, peak_share=1e3 * gflop / row.ours_ms / peak)


def _table(rows: list[Row]) -> Table:
    title = f"training step, {_machine(rows[0])}, torch {torch.__version__}, {platform.machine()}"
    table = Table("setting", "past tasks", "ours ms", "plain ms", "ratio", "ours MB", "plain MB",
                  "GFLOP", "of peak", box=SIMPLE_HEAD, pad_edge=False,
                  title=title)  # fmt: skip
    for r in rows:
        table.add_row(r.setting, str(r.past_tasks), f"{r.ours_ms:.1f}", f"{r.reference_ms:.1f}",
                      f"{r.ratio:.2f}", f"{r.ours_mb:.0f}", f"{r.reference_mb:.0f}",
                      f"{r.gflop or math.nan:.1f}", f"{r.peak_share or math.nan:.0%}")  # fmt: skip
    return table


def _machine(row: Row) -> str:
    if row.device == "cpu":
        return f"{row.threads} threads"
    return str(torch.cuda.get_device_name())


def _write(rows: list[Row]) -> None:
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    found = [as_dict(row) for row in rows]
    measured = [_key(row) for row in found]
    kept = [old for old in before if _key(old) not in measured]
    RESULTS.write_text(json.dumps(kept + found, indent=1) + "\n")


def _key(row: dict[str, object]) -> tuple[object, ...]:
    return row["setting"], row["past_tasks"], row.get("device", "cpu")


if __name__ == "__main__":
    main()
