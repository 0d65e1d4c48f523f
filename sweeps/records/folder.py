"""The folder of a sweep, keyed by Optuna's trial numbers.

STORAGE/mlflow.db  artifacts/       all sweeps' MLflow runs, unless a server has them
STORAGE/sweeps/NAME/
    search_space.yaml  sweep.json   as launched
    study.db                        the Optuna study
    code/a1b2c3d4e5f6/              users' own methods etc. that trials import, by its digest
    trials/0007/seed_1/             journal.jsonl, checkpoints/, result.json
"""

import errno
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hcl.config import ConfigError, plugins
from hcl.storage.files import LockHeldError, locked, write_atomically
from sweeps.records.journal import FILE_NAME

ROOT = Path(__file__).resolve().parents[2]
WHEEL_COMMIT = ROOT / "sweeps" / "bundled" / "commit.json"  # written by hatch_build.py
LIVES_ON = 10.0  # seconds that a trial may live on after its driver was killed
# A name becomes a folder, an MLflow experiment, and a part of tags and queries.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class SweepFolder:
    """Where everything of one sweep is.

    Attributes:
        storage: folder of all sweeps.
        name: name of the sweep.
    """

    storage: Path
    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"--name {self.name!r}: use letters, digits, '_', '-' and '.', at most 100"
            )
        # Trials run in other working directories, where a relative path means another folder.
        object.__setattr__(self, "storage", Path(self.storage).expanduser().absolute())
        try:
            self.path.stat()
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                shown = str(self.storage) if len(str(self.storage)) <= 80 else "(a long name)"
                raise ConfigError(f"--storage {shown}: {error.strerror}; name a folder") from None

    @property
    def path(self) -> Path:
        """The sweep's own folder."""
        return self.storage / "sweeps" / self.name

    @property
    def study_url(self) -> str:
        """URL of the study's database in this folder."""
        return f"sqlite:///{self.path / 'study.db'}"

    @property
    def space_file(self) -> Path:
        """The search space as launched, command-line changes included."""
        return self.path / "search_space.yaml"

    @property
    def page(self) -> Path:
        """The page of its results, written when it ends."""
        return self.path / "report.html"

    def seed_folder(self, trial: int | str, seed: int) -> Path:
        """Folder with the records of one seed of a trial (a number, or a single run's name)."""
        return self.path / "trials" / trial_label(trial) / f"seed_{seed}"

    def keep_code(self, paths: Iterable[str]) -> Path | None:
        """Write the code that import paths name, so that trials on every node import this copy.

        A user may go on working on the original meanwhile.

        Returns:
            The folder to import it from; None where nothing is to be kept.
        """
        files = plugins.to_keep(paths)
        if not files:
            return None
        place = self.path / "code" / plugins.digest(paths)
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place / name, content)
        return place

    def kept_code(self) -> list[Path]:
        """List the folders that `keep_code` wrote."""
        return sorted(self.path.glob("code/*"))

    def journals(self) -> list[Path]:
        """List the folders of all seeds that have begun."""
        return sorted(path.parent for path in self.path.glob(f"trials/*/*/{FILE_NAME}"))

    def read_info(self) -> dict[str, Any]:
        """Read sweep.json; it is empty before the first start.

        Raises:
            ConfigError: the file is damaged.
        """
        path = self.path / "sweep.json"
        try:
            info = json.loads(path.read_text())
            if not isinstance(info, dict):
                raise ValueError("it holds no JSON object")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is damaged ({error}); restore it from a copy") from None
        return info

    def write_info(self, **changes: Any) -> None:
        """Change entries of sweep.json; the others stay."""
        self.path.mkdir(parents=True, exist_ok=True)
        info = {**self.read_info(), **changes}
        write_atomically(self.path / "sweep.json", json.dumps(info, indent=2) + "\n")

    def write_space(self, document: dict[str, Any]) -> None:
        """Write the search space as launched."""
        self.path.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(document, sort_keys=False, width=99)
        write_atomically(self.space_file, f"# sweep {self.name}, as launched\n{text}")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make this process the sweep's only driver.

        Raises:
            ConfigError: another process drives the sweep (its id is named), or the folder cannot
                be written.
        """
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.path / ".lock", timeout=0))
            except LockHeldError as error:
                raise ConfigError(
                    f"sweep {self.name!r} is being run by process {error.owner}; wait for it,"
                    " stop it, or choose another --name"
                ) from None
            except OSError as error:
                raise ConfigError(
                    f"--storage {self.storage}: {self.path} cannot be written ({error.strerror})"
                ) from None
            yield

    def check_free(self) -> None:
        """Refuse a sweep that another process drives, without taking it.

        Raises:
            ConfigError: names that process.
        """
        if (self.path / ".lock").exists():
            with self.lock():
                pass


def trial_label(trial: int | str) -> str:
    """Name a trial's folder: `0007` for trial 7; a single run's name stays."""
    return f"{trial:04d}" if isinstance(trial, int) else trial


def run_key(sweep: str, trial: int | str, seed: int) -> str:
    """Name a training once and for all: its MLflow run is found again by this tag."""
    return f"{sweep}/{trial_label(trial)}/seed_{seed}"


def wait_for_writers(folders: Sequence[Path], seconds: float = 5.0) -> None:
    """Wait until no process works in these seeds' folders, but not longer than `seconds`.

    A worker that outlives Ray for a moment would open its MLflow run again.
    """
    deadline = time.monotonic() + seconds
    for folder in folders:
        with (
            suppress(LockHeldError, OSError),
            locked(folder / ".lock", max(0.0, deadline - time.monotonic())),
        ):
            pass


@contextmanager
def only_process(folder: Path, timeout: float) -> Iterator[None]:
    """Wait until no other process works in a seed's folder, then keep others out.

    When a driver is killed, its trials live on for a moment; by then they may be handed out again.
    When a node freezes, Ray takes it for dead and hands its trials out again, while its frozen
    workers hold their locks: such a worker is killed.

    Args:
        folder: the seed's folder.
        timeout: seconds to wait.

    Raises:
        TimeoutError: the other process did not end in time.
    """
    path = folder / ".lock"
    with ExitStack() as held:
        try:
            held.enter_context(locked(path, min(timeout, LIVES_ON)))
        except LockHeldError as error:
            _kill_if_frozen(error.owner, path)
            try:
                held.enter_context(locked(path, timeout))
            except LockHeldError:
                raise TimeoutError(f"another process still trains in {folder}") from None
        yield


def _kill_if_frozen(pid: str, lock: Path) -> None:
    """Kill the lock's holder if it is a stopped Ray worker of this machine, and nothing else.

    The number may be another machine's, or of a process that a person has stopped: hence the
    looks at its parent and at its open files.
    """
    process = Path("/proc", pid)
    with suppress(OSError, ValueError):  # no such process here, or not ours to look at
        state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
        is_worker = Path("/proc", parent, "comm").read_text().strip() == "raylet"
        holds_it = any(file.samefile(lock) for file in (process / "fd").iterdir())
        if state == "T" and is_worker and holds_it:
            os.kill(int(pid), signal.SIGKILL)


def git_tags() -> dict[str, Any]:
    """Find the commit of this code, and whether files had changed since.

    A wheel holds the commit that it was built from. Elsewhere git is asked, unless the code is no
    checkout: it may lie in the repository of another project. Empty where nothing is known.
    """
    try:
        if WHEEL_COMMIT.is_file():
            return dict(json.loads(WHEEL_COMMIT.read_text()))
        if (ROOT / ".git").exists():
            changed = bool(_git("status", "--porcelain"))
            return {"git_commit": _git("rev-parse", "HEAD"), "git_dirty": changed}
    except (OSError, ValueError, subprocess.SubprocessError):
        pass
    return {}


def _git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=10
    )
    return done.stdout.strip()
