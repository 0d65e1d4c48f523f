"""Files that several processes share: where data are, locks, atomic writes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hcl.config.schema import ConfigError


class DataError(ConfigError):
    """A data set is missing or damaged; the message says which file, where, and what to do."""


def resolve_root(data_root: Path | str | None) -> Path:
    """The folder that holds data: the argument, else HCL_DATA, else ~/.cache/hcl/data."""
    named = data_root or os.environ.get("HCL_DATA") or "~/.cache/hcl/data"
    return Path(named).expanduser().resolve()


def first_line(error: BaseException) -> str:
    """The first words of an error, to quote inside one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


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
