"""MLflow's tables in a new sqlite file, made whole or not at all."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any


def make_database(path: Path) -> None:
    """Make the file under another name and give it its own when it is on disk.

    MLflow makes its tables in hundreds of changes and waits for the disk after each, seconds in
    all. Nothing of a draft has to be safe before its end, so that this waits once. A kill leaves
    a draft, which the next call removes. An MLflow that makes its tables by another name makes
    them itself, slowly, when it first connects.

    Args:
        path: of a file that does not exist, in a folder that does; nobody else makes it now.

    Raises:
        SQLAlchemyError, OSError: the disk did not take it.
    """
    try:
        from mlflow.store.db.utils import _initialize_tables
    except ImportError:
        return
    from sqlalchemy import NullPool, create_engine

    for left in path.parent.glob(f".{path.name}.*.draft"):
        left.unlink(missing_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    hasty = {"factory": _Hasty}
    engine = create_engine(f"sqlite:///{draft}", poolclass=NullPool, connect_args=hasty)
    try:
        _initialize_tables(engine)  # what MLflow does with an empty database
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name is on disk too
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)


class _Hasty(sqlite3.Connection):
    """Never waits for the disk, and writes no journal there."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.execute("PRAGMA synchronous = OFF")
        self.execute("PRAGMA journal_mode = MEMORY")
