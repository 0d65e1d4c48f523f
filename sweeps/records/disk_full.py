"""Recognition of a full disk in any exception; the trial is not at fault."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_ERRORS = (errno.ENOSPC, errno.EDQUOT)
_SQLITE = "database or disk is full"
_RESERVE, _RESERVED = ".reserve", 2**18  # bytes, for the last changes of two databases


def is_full(error: BaseException) -> bool:
    """Say whether an error, or one that it came from, is a full disk."""
    return any(
        (isinstance(one, OSError) and one.errno in _ERRORS) or _SQLITE in str(one)
        for one in causes(error)
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all errors that it came from."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            todo += [one.__cause__, one.__context__]
            yield one


def no_space(folder: Path) -> str:
    """Word the reason that is recorded and shown."""
    return f"no space left on device: {folder}"


def reserve(folder: Path) -> None:
    """Take some space of a disk, to have it for an end in order once the disk is full.

    Raises:
        OSError: there is no space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Random bytes: a file system that compresses would keep no space for zeros.
    (folder / _RESERVE).write_bytes(os.urandom(_RESERVED))


def release(folder: Path) -> None:
    """Give back what `reserve` took."""
    (folder / _RESERVE).unlink(missing_ok=True)
