"""The command under test: `hcl sweep`, started again and again as a person would."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.soak import processes
from sweeps.records.folder import SweepFolder

TRIAL_SECONDS = """
description: trials of seconds
trial:
  benchmark: {{name: split_digits, num_tasks: 5, val_fraction: 0.2}}
  target: {{hidden_sizes: [16]}}
  method: {{name: hnet, hidden_sizes: [8], chunk_size: 200, embedding_size: 4}}
  train: {{iterations: {iterations}, batch_size: 16}}
search:
  method/beta: {{type: float, low: 1.0e-4, high: 1.0, log: true}}
  method/chunk_embedding_size: {{type: int, low: 2, high: 8, step: 2}}
  train/lr: {{type: float, low: 1.0e-4, high: 1.0e-2, log: true}}
sweep: {{num_trials: {trials}, sampler: random, max_concurrent_trials: 2, checkpoint_every: 50}}
"""
PATH = re.compile(r"/[^\s,;:'\"()]+")
BLOCKS = re.compile(r"^trial \d+ failed: |\b(remove|delete) (it|them)\b")
SYNC = "nothing is lost: hcl sync"


@dataclass
class Driver:
    """One sweep and the driver that runs it now.

    Attributes:
        space: search space file.
        folder: the sweep's.
        tracking_uri: MLflow's server.
        study_url: database of the study; None = sqlite in the folder.
        logs: folder of what the drivers print, one file per start.
        starts: how often the command was started.
        set_aside: damaged files that a message named, and that were renamed.
    """

    space: Path
    folder: SweepFolder
    tracking_uri: str
    study_url: str | None
    logs: Path
    starts: int = 0
    set_aside: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Number of the driver's process."""
        assert self.process is not None
        return self.process.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        assert self.process is not None
        return self.process.poll()

    def start(self) -> None:
        """Start the command; its output goes to a new file."""
        self.starts += 1
        arguments = ["sweep", str(self.space), "--name", self.folder.name]
        study = {"HCL_STUDY_URL": self.study_url} if self.study_url else {}
        self.process = self._run(arguments, study)

    def sync(self, seconds: float = 120) -> str:
        """Run `hcl sync`, which a message asked for; return what is wrong with its end."""
        process = self._run(["sync", self.folder.name], {})
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"hcl sync did not end in {seconds:.0f} s"
        return f"hcl sync ended with status {status}" if status else ""

    def output(self) -> str:
        """Return what the newest process has printed."""
        return self._log().read_text(errors="replace")

    def progress(self) -> list[tuple[str, int]]:
        """Return what changes whenever a trial moves: its checkpoints and its journal's size."""
        found = []
        for seed in self.folder.path.glob("trials/*/seed_*"):
            names = [path.name for path in seed.glob("checkpoints/[0-9]*.pt")]
            journal = seed / "journal.jsonl"
            size = journal.stat().st_size if journal.exists() else 0
            found.append((f"{seed} {max(names, default='')}", size))
        return sorted(found)

    def results(self) -> int:
        """Count the seeds that have a result."""
        return len(list(self.folder.path.glob("trials/*/*/result.json")))

    def trainers(self) -> dict[Path, int]:
        """Map the folder of each seed under way to the process that trains it."""
        found = {}
        for lock in sorted(self.folder.path.glob("trials/*/*/.lock")):
            if (lock.parent / "result.json").exists():
                continue  # its process may train another trial now
            text = lock.read_text()
            if text.strip().isdigit() and processes.command(int(text)).startswith("ray::"):
                found[lock.parent] = int(text)
        return found

    def set_aside_what_is_named(self) -> list[str]:
        """Rename damaged files of trials where a message says that they block or must go."""
        trials = self.folder.path / "trials"
        lines = [line for line in self.output().splitlines() if BLOCKS.search(line)]
        moved = []
        for named in sorted({path.rstrip(".") for line in lines for path in PATH.findall(line)}):
            path = Path(named)
            if path.is_relative_to(trials) and path.is_file():
                path.rename(path.with_name(f"{path.name}.damaged-{self.starts}"))
                moved.append(str(path.relative_to(trials)))
        self.set_aside += moved
        return moved

    def _run(self, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "sweeps.cli", *arguments]
        command += ["--storage", str(self.folder.storage), "--tracking-uri", self.tracking_uri]
        with open(self._log(), "ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.space.parent,
                env=os.environ | environment,
                start_new_session=True,
            )

    def _log(self) -> Path:
        return self.logs / f"{self.folder.name}-{self.starts:02d}.log"


def wait_for_end(driver: Driver, seconds: float) -> float:
    """Wait for an undisturbed driver; return its seconds.

    Raises:
        RuntimeError: it did not end well; with what it printed.
    """
    began = time.monotonic()
    while driver.status is None and time.monotonic() < began + seconds:
        time.sleep(0.2)
    if driver.status != 0:
        raise RuntimeError(f"the undisturbed sweep: status {driver.status}\n{driver.output()}")
    return time.monotonic() - began
