"""Shared files: a write is whole or not at all, a lock has one holder and says who."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from hcl.storage.files import LockHeldError, locked, write_atomically

HOLD = """
import sys, time
from pathlib import Path
from hcl.storage.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held_by_another(path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_text_bytes_and_functions_are_written(tmp_path: Path) -> None:
    for i, content in enumerate(("é", "é".encode(), lambda file: file.write("é".encode()))):
        path = tmp_path / str(i)
        write_atomically(path, content)
        assert path.read_text(encoding="utf-8") == "é"
    write_atomically(path, "last", mode=0o444)
    assert path.read_text() == "last" and path.stat().st_mode & 0o777 == 0o444
    assert len(list(tmp_path.iterdir())) == 3


def test_an_interrupted_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, write)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_lock_makes_its_folder_and_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / ".lock"
    with locked(path):
        assert path.read_text() == str(os.getpid())
        # Another descriptor of the same process is refused too.
        with pytest.raises(LockHeldError) as caught, locked(path, timeout=0):
            pass
        assert caught.value.owner == str(os.getpid())
        assert str(caught.value) == f"{path} is held by process {os.getpid()}"
    with locked(path, timeout=0):
        pass


@pytest.mark.timeout(60)
def test_a_lock_is_free_once_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with held_by_another(path) as process:
        with pytest.raises(LockHeldError) as caught, locked(path, timeout=0.3):
            pass
        assert caught.value.owner == str(process.pid)
        process.kill()
        with locked(path, timeout=30):
            assert path.read_text() == str(os.getpid())
