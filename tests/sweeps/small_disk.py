"""Real file systems, as small as a test wants, that grow on command."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A file system in memory, mounted at `path`."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")

    def resize(self, size: str) -> None:
        """Change its size; its files stay."""
        self._mount("-o", f"remount,size={size}")

    def fill(self) -> Path:
        """Take all that is left; return the file whose removal gives it back."""
        path = self.path / "filler"
        with path.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return path

    def _mount(self, *options: str) -> None:
        command = ["mount", *options, str(self.path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no `mount` here")
        if done.returncode != 0:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[SmallDisk]:
    """Mount a small disk; it is gone afterwards, even where something still holds a file."""
    disk = SmallDisk(path, size)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
