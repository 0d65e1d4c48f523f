"""Fetching a data set: once for all processes that ask, and never waiting for long."""

import re
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

from hcl.benchmarks.raw import DataError, first_line

CONNECT_TIMEOUT = 20.0  # seconds without an answer from a mirror
# What torchvision's downloads fail with, its own absence included.
FAILURES = (ImportError, RuntimeError, OSError, HTTPException, EOFError, zlib.error)


@contextmanager
def socket_timeout(seconds: float = CONNECT_TIMEOUT) -> Iterator[None]:
    """Give up on a mirror that does not answer: torchvision sets no limit, and would wait for
    minutes behind a firewall that drops packets."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def check_is_folder(root: Path) -> None:
    """Refuse a file where a folder with data should be.

    Raises:
        DataError: it is one.
    """
    if root.exists() and not root.is_dir():
        raise DataError(f"--data-root {root} is a file; name the folder that has the data")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only process that holds the file `path`; waits for the one that does.

    Its folder is made if need be. A failure leaves neither the file nor folders behind.
    """
    import fcntl  # POSIX only, so not needed by who has the files

    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # flock, because the kernel lets go of it when the holder is killed.
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except BaseException:
        path.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # somebody else uses it by now
                folder.rmdir()
        raise


def reason(error: BaseException) -> str:
    """Why a download failed, to quote inside one sentence."""
    # torchvision lists every mirror it tried; the last line is the last one's failure.
    lines = [line for line in str(error).splitlines() if line.strip()]
    last = lines[-1].strip() if lines else first_line(error)
    return re.sub(r"<urlopen error (?:\[Errno -?\d+\] )?(.*)>", r"\1", last)
