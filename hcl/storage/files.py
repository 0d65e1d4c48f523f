"""Files that several processes share: locks, writes that are whole or not at all, data folders."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hcl.config.schema import ConfigError

RETRY_SECONDS = 0.1  # between two tries for a lock


class DataError(ConfigError):
    """A data set is missing or damaged; the message says which file, where, and what to do."""


class LockHeldError(TimeoutError):
    """Another process holds the lock.

    Args:
        path: the lock's file.
        owner: process id that the holder left there; may be empty.
    """

    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(f"{path} is held by process {owner or 'unknown'}")
        self.path, self.owner = path, owner


def write_atomically(
    path: Path, content: str | bytes | Callable[[BinaryIO], object], mode: int | None = None
) -> None:
    """Write a file: a reader sees the old one or the new one, never a part, whatever is killed.

    Args:
        path: in a folder that exists.
        content: text, bytes, or a function that writes into the open file.
        mode: permissions, such as 0o444; None = the usual ones.

    Raises:
        OSError: the disk did not take it; the old file is as it was.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            draft.chmod(mode)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, timeout: float | None = None) -> Iterator[None]:
    """Be the only process that holds the lock `path`.

    The kernel lets go of the lock when its holder ends, however it ends. The file stays, with the
    holder's process id.

    Args:
        path: file of the lock; its folder is made where it is missing.
        timeout: seconds to wait for the holder; 0 = not at all, None = as long as it takes.

    Raises:
        LockHeldError: another process still holds it.
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:  # not "w", which would wipe out the holder's process id
        if not _acquire(file.fileno(), timeout):
            file.seek(0)
            raise LockHeldError(path, file.read().strip())
        with suppress(OSError):  # information only: a full disk does not break the lock
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield


def _acquire(descriptor: int, timeout: float | None) -> bool:
    """Take the lock; False if that took too long."""
    import fcntl  # POSIX only: who locks nothing needs no POSIX

    if timeout is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(RETRY_SECONDS)


def resolve_root(data_root: Path | str | None) -> Path:
    """Find the folder that holds data: the argument, else HCL_DATA, else ~/.cache/hcl/data."""
    named = data_root or os.environ.get("HCL_DATA") or "~/.cache/hcl/data"
    return Path(named).expanduser().resolve()


def check_is_folder(root: Path) -> None:
    """Refuse a file where a folder with data should be.

    Raises:
        DataError: it is one.
    """
    if root.exists() and not root.is_dir():
        raise DataError(f"--data-root {root} is a file; name the folder that has the data")


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written or made; nothing is left in it, and none is made.

    Raises:
        OSError: the folder, or the nearest one above it that exists, takes no file.
    """
    places = (folder, *folder.absolute().parents)
    nearest = next(path for path in places if path.exists() or path.is_symlink())
    with tempfile.TemporaryFile(dir=nearest):
        pass


def first_line(error: BaseException) -> str:
    """Quote the first words of an error inside one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
