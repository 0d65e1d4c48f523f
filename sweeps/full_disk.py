"""A full disk, however it is told: it is no fault of a trial's, and ends when a person acts."""

import errno
from pathlib import Path

_ERRORS = (errno.ENOSPC, errno.EDQUOT)
_SQLITE = "database or disk is full"


def is_full(error: BaseException) -> bool:
    """Whether an error, or what it came from, is a disk without space."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno in _ERRORS or _SQLITE in str(one):
            return True
        todo += [one.__cause__, one.__context__]
    return False


def no_space(folder: Path) -> str:
    """The reason that is recorded and shown."""
    return f"no space left on device: {folder}"
