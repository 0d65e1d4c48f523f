"""Records of finished trainings as one file, which anyone can check, extend or dispute.

The file holds the journals of a sweep's finished seeds one after the other, each from its "start"
to its "end". From them every table is made again, on any machine, without training.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hcl.config import ConfigError
from hcl.storage.files import write_atomically
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import FILE_NAME
from sweeps.records.record import decode

Lines = list[bytes]


def archive_of(records: Path, name: str) -> Path:
    """Name the file of a sweep in a folder of records."""
    return records / f"{name}.jsonl"


def unpack(archive: Path, folder: SweepFolder) -> int:
    """Write the journals of an archive into a sweep's folder, but for seeds that it has already.

    Returns:
        How many were written.

    Raises:
        ConfigError: a line is damaged, or the records are another sweep's.
    """
    written = 0
    for journal in list(_journals(archive, folder.name)):
        label, seed = decode(journal[0])["run_key"].split("/")[1:]
        path = folder.path / "trials" / label / seed / FILE_NAME
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, b"".join(line + b"\n" for line in journal))
            written += 1
    return written


def pack(folder: SweepFolder, archive: Path) -> int:
    """Write all finished journals of a sweep's folder into an archive, whole and in order.

    Returns:
        How many there are.

    Raises:
        ConfigError: a journal is damaged.
    """
    paths = [seed / FILE_NAME for seed in folder.journals()]
    whole = [path.read_bytes() for path in paths if _is_finished(path)]
    if whole:
        archive.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(archive, b"".join(whole))
    return len(whole)


def _is_finished(path: Path) -> bool:
    *_, last = path.read_bytes().splitlines() or [b"{}"]
    return b'"kind": "end"' in last and bool(_checked(path, 0, last))


def _journals(archive: Path, sweep: str) -> Iterator[Lines]:
    """Yield the lines of each journal."""
    journal: Lines = []
    for number, line in enumerate(archive.read_bytes().splitlines(), 1):
        record = _checked(archive, number, line)
        if record["kind"] == "start":
            name, label, _ = record["run_key"].split("/")
            if name != sweep or label in (".", ".."):
                raise ConfigError(
                    f"{archive}, line {number}: these are records of {record['run_key']}, not of"
                    f" {sweep}"
                )
            if journal:
                yield journal
            journal = []
        elif not journal:
            raise ConfigError(f"{archive}, line {number}: a journal begins with its start")
        journal.append(line)
    if journal:
        yield journal


def _checked(archive: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        return decode(line)
    except ValueError as error:
        where = f", line {number}" if number else ""
        raise ConfigError(f"{archive}{where} is damaged: {error}; get it again") from None
