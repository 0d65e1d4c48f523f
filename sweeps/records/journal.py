"""A seed's journal: an append-only file that outlives every crash and outage."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcl.storage.files import write_atomically
from sweeps.records.record import decode, encode

FILE_NAME = "journal.jsonl"


class JournalError(ValueError):
    """A journal has a damaged line that no interrupted write explains."""


@dataclass(frozen=True)
class Damage:
    """A line of a journal that is no record, and why."""

    path: Path
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line} is damaged: {self.why}"


class Journal:
    """A file with one record per line, each on disk (fsync) before `append` returns.

    A kill can tear only the last line. Reading skips a torn line and the next append cuts it
    off: at most the record that was being written is lost. Any other damaged line is an error,
    until `replace` has set the damaged file aside.

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
            ValueError: the record lacks a field of its kind, or has one of a wrong type.
            OSError: the disk did not take the whole line.
        """
        data = encode({"kind": kind, "time": time.time(), **fields})
        is_new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._cut_torn_line():
            data = b"\n" + data
        # One unbuffered write of the whole line: a second writer cannot land inside it.
        with open(self.path, "ab", buffering=0) as file:
            while data:  # a nearly full disk takes a part; the next write raises the reason
                data = data[file.write(data) :]
            os.fsync(file.fileno())
        if is_new:
            _sync_folder(self.path.parent)

    def count_tasks(self) -> int:
        """Count the tasks learned so far, without reading what each record says."""
        with suppress(OSError):  # not begun
            return self.path.read_bytes().count(b'{"kind": "task"')
        return 0

    def records(self) -> list[dict[str, Any]]:
        """Read all whole records, oldest first; without a journal the list is empty.

        Raises:
            JournalError: a line other than a torn last one is damaged.
        """
        records, damages = self.scan()
        if damages:
            raise JournalError(str(damages[0]))
        return records

    def scan(self) -> tuple[list[dict[str, Any]], list[Damage]]:
        """Read the whole records of a journal, and which of its lines are damaged."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return [], []
        records, damages = [], []
        *lines, tail = data.split(b"\n")
        for number, line in enumerate(lines, start=1):
            try:
                records.append(decode(line))
            except ValueError as error:
                damages.append(Damage(self.path, number, str(error)))
        if (record := _unended(tail)) is not None:
            records.append(record)
            damages.append(Damage(self.path, len(lines) + 1, "its end is overwritten"))
        if records and records[0]["kind"] != "start" and not damages:
            damages.append(Damage(self.path, 1, "the first record must be a start"))
        return records, damages

    def replace(self, records: Sequence[dict[str, Any]], kept_as: str) -> None:
        """Write a journal of these records in place of the one that is there, which stays.

        Args:
            records: all that the new journal holds.
            kept_as: name for the old one, in the same folder.
        """
        data = b"".join(map(encode, records))
        write_atomically(self.path.with_name(kept_as), self.path.read_bytes())
        write_atomically(self.path, data)

    def next_name(self) -> str:
        """Find a free name for a damaged journal: `journal.jsonl.damaged-1`."""
        taken = len(list(self.path.parent.glob(f"{FILE_NAME}.damaged-*")))
        return f"{FILE_NAME}.damaged-{taken + 1}"

    def _cut_torn_line(self) -> bool:
        """Cut off what an interrupted write left; say whether the last line lacks its end only.

        That line is damaged but not torn, and nobody may lose its record.
        """
        if not self.path.exists():
            return False
        with open(self.path, "rb+") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                return False
            file.seek(size - 1)
            if file.read(1) == b"\n":
                return False
            file.seek(0)
            data = file.read()
            end = data.rfind(b"\n") + 1
            if _unended(data[end:]) is not None:
                return True
            file.truncate(end)
            os.fsync(file.fileno())
        return False


def _unended(tail: bytes) -> dict[str, Any] | None:
    """Return the record before a newline that has become another byte; None of a torn line."""
    with suppress(ValueError):
        return decode(tail[:-1])
    return None


def _sync_folder(folder: Path) -> None:
    """Write a new file's name to disk too: fsync of a file does not cover its folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
