"""Sweeps under random faults: nothing may be lost, counted twice, or kept open.

`python -m bench.soak --minutes 20` runs real sweeps of trials of seconds, one after the other, and
breaks something every 15 s: it kills a worker, Ray's node process, the driver or MLflow's server,
keeps the study's database from answering, or flips bits in a checkpoint or in a journal. Whenever
the driver ends too early it is started again with the same command. At the end it compares every
sweep with an undisturbed one. Exit status 1 = something did not hold; bench/soak.json says what.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.soak import processes
from bench.soak.faults import FAULTS
from bench.soak.soak import Plan, Soak

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "soak.json"


def main() -> None:
    """Run a soak, write bench/soak.json, print what was found."""
    args = _arguments()
    only = args.only.split(",") if args.only else None
    plan = Plan(
        args.minutes, args.every, args.seed, args.trials, args.iterations, args.silent, only
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # so that it cleans up
    with _surroundings(args.keep) as (folder, server, postgres):
        found = Soak(plan, folder, server, postgres).run()
    names = (
        "minutes",
        "every",
        "seed",
        "trials",
        "iterations",
        "silent",
        *(["only"] if only else []),
    )
    options = " ".join(f"--{name} {getattr(args, name)}" for name in names)
    about = {
        "command": f"python -m bench.soak {options}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, shared with other work",
        "measured": time.strftime("%F %T%z"),
    }
    args.out.write_text(_without_folders(json.dumps({**about, **found}, indent=1), folder) + "\n")
    _print(found)
    sys.exit(1 if found["violations"] else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20, help="how long things are broken")
    parser.add_argument("--every", type=float, default=15, help="seconds between two faults")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--only", help=f"comma-separated faults out of {','.join(FAULTS)}")
    parser.add_argument("--trials", type=int, default=12, help="of each sweep")
    parser.add_argument("--iterations", type=int, default=300, help="steps of each of 5 tasks")
    parser.add_argument(
        "--silent",
        type=float,
        default=90,
        help="seconds without progress after which a driver hangs; more on a busy machine",
    )
    parser.add_argument("--keep", type=Path, help="empty folder that keeps logs and sweeps")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    for kind in args.only.split(",") if args.only else ():
        if kind not in FAULTS:
            parser.error(f"--only: unknown fault {kind!r}; known: {', '.join(FAULTS)}")
    return args


@contextmanager
def _surroundings(keep: Path | None) -> Iterator[tuple[Path, Any, Any]]:
    """Make the folder and start the servers; end every process and remove the folder."""
    from tests.sweeps.postgres import programs, running_postgres
    from tests.sweeps.servers import Server

    # A short name: the paths of the sockets that Ray makes in it may have 107 characters.
    folder = keep or Path(tempfile.mkdtemp(prefix="soak-"))
    (folder / "tmp").mkdir(parents=True)
    os.environ[processes.MARK] = mark = f"{os.getpid()}-{time.time():.0f}"
    with ExitStack() as stack:
        stack.callback(_clean, mark, None if keep else folder)
        postgres = stack.enter_context(running_postgres()) if programs() else None
        # Drivers that are killed leave Ray's folders behind; here they are removed with ours.
        os.environ |= {"TMPDIR": str(folder / "tmp"), "RAY_TMPDIR": str(folder / "tmp")}
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        server = Server(folder)
        server.start()
        yield folder, server, postgres


def _without_folders(text: str, folder: Path) -> str:
    """Shorten the paths of this machine."""
    for path, name in ((folder, "SOAK"), (sys.prefix, "ENV"), (sys.base_prefix, "PYTHON")):
        text = text.replace(str(path), name)
    return text.replace(f"{ROOT}/", "")


def _clean(mark: str, folder: Path | None) -> None:
    processes.kill(processes.marked(mark))
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _print(found: dict[str, Any]) -> None:
    faults = ", ".join(f"{kind} {times}" for kind, times in found["faults"].items())
    print(f"{sum(found['faults'].values())} faults in {found['seconds']:.0f} s: {faults}")
    print(f"{len(found['sweeps'])} sweeps, {found['driver_starts']} starts of the driver,"
          f" {found['seconds_lost']:.0f} s lost")  # fmt: skip
    if flat := found["driver_flat"]:
        print(
            f"driver, first and last third: {flat['first_mb']:.0f} and {flat['last_mb']:.0f} MB,"
            f" {flat['first_descriptors']:.0f} and {flat['last_descriptors']:.0f} open files"
        )
    for violation in found["violations"]:
        print(f"{violation['at_s']} s {violation.get('sweep', '')}: {violation['what']}")
    print(f"{len(found['violations'])} violations")


if __name__ == "__main__":
    main()
