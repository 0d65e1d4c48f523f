"""A seed's journal: an append-only file that outlives every crash and outage."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

FILE_NAME = "journal.jsonl"


class JournalError(ValueError):
    """A journal has a damaged line that no interrupted write explains."""


class Journal:
    """A file with one JSON object per line, each on disk (fsync) before `append` returns.

    A kill can tear only the last line. Reading skips a torn line and the next append cuts it
    off: at most the record that was being written is lost.

    Args:
        folder: the seed's folder; it is made by the first `append`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / FILE_NAME

    def append(self, kind: str, **fields: Any) -> None:
        """Write one record; `time` (seconds since 1970) is added where it is missing.

        NaN and infinity become null, because JSON cannot write them.

        Raises:
            TypeError: JSON cannot hold one of the values.
            OSError: the disk did not take the whole line.
        """
        record = {"kind": kind, "time": time.time(), **fields}
        line = json.dumps(_strict(record), allow_nan=False, ensure_ascii=False) + "\n"
        data = line.encode()
        is_new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._cut_torn_line()
        # One unbuffered write of the whole line: a second writer cannot land inside it.
        with open(self.path, "ab", buffering=0) as file:
            while data:  # a nearly full disk takes a part; the next write raises the reason
                data = data[file.write(data) :]
            os.fsync(file.fileno())
        if is_new:
            _sync_folder(self.path.parent)

    def records(self) -> list[dict[str, Any]]:
        """Read all whole records, oldest first; without a journal the list is empty.

        Raises:
            JournalError: a line other than a torn last one is not a JSON object.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        # Anything after the last newline is a torn line.
        lines = data.split(b"\n")[:-1]
        return [self._parse(number, line) for number, line in enumerate(lines, start=1)]

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError as error:
            raise JournalError(f"{self.path}, line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise JournalError(f"{self.path}, line {number} is not a JSON object")
        return record

    def _cut_torn_line(self) -> None:
        if not self.path.exists():
            return
        with open(self.path, "rb+") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                return
            file.seek(size - 1)
            if file.read(1) == b"\n":
                return
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Write a new file's name to disk too: fsync of a file does not cover its folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _strict(value: Any) -> Any:
    """Convert a value to what strict JSON can hold; numpy and torch numbers become Python's."""
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return _strict(value.tolist())
    raise TypeError(f"a journal cannot hold a {type(value).__name__}: {value!r}")
