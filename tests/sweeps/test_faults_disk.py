"""A disk without space, for real: a small file system under one trial, or under everything."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_disk import SmallDisk, small_disk

from hcl import checkpoint
from sweeps.folder import write_atomically
from sweeps.journal import Journal

pytestmark = [
    pytest.mark.timeout(60),  # the first one imports MLflow
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", "100k") as disk:
        yield disk


def test_a_checkpoint_that_does_not_fit_says_so_and_costs_nothing(disk: SmallDisk) -> None:
    checkpoint.save(disk.path, 1, {"x": torch.zeros(100)})
    for size in (10, 10_000, 1_000_000):  # into the file's buffer, and beyond it
        full = disk.fill()
        with pytest.raises(OSError) as caught:
            checkpoint.save(disk.path, 2, {"x": torch.zeros(size)})
        assert caught.value.errno == errno.ENOSPC
        full.unlink()
        assert [path.name for path in disk.path.iterdir()] == ["000000000001.pt"]


def test_a_journal_that_does_not_fit_says_so_and_goes_on_later(disk: SmallDisk) -> None:
    journal = Journal(disk.path)
    journal.append("start", text="x" * 3000)
    full = disk.fill()
    with pytest.raises(OSError) as caught:  # its page takes a part of the line
        journal.append("task", text="x" * 3000)
    assert caught.value.errno == errno.ENOSPC
    assert journal.path.stat().st_size > 3100
    assert [record["kind"] for record in journal.records()] == ["start"]
    full.unlink()
    journal.append("end")
    assert [record["kind"] for record in journal.records()] == ["start", "end"]


def test_a_file_that_does_not_fit_is_the_old_one(disk: SmallDisk) -> None:
    path = disk.path / "result.json"
    write_atomically(path, "old")
    full = disk.fill()
    with pytest.raises(OSError):
        write_atomically(path, "new" * 10_000)
    full.unlink()
    assert path.read_text() == "old" and list(disk.path.iterdir()) == [path]
