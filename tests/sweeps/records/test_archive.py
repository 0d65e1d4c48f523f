"""Records of finished trainings as one file: the same journals on another machine."""

from pathlib import Path

import pytest
from journals import start_fields

from hcl.config import ConfigError
from sweeps.records.archive import archive_of, pack, unpack
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal

END = {"metrics": {"a": 1.0}, "accuracy": {}, "status": "FINISHED"}


def seed(folder: SweepFolder, label: str, number: int, **end: object) -> None:
    journal = Journal(folder.seed_folder(label, number))
    key = {"run_key": f"{folder.name}/{label}/seed_{number}"}
    journal.append("start", **{**start_fields(), **key})
    journal.append("task", tasks_learned=1, metrics={"a": 0.5 + number})
    if end:
        journal.append("end", **end)


def texts(folder: SweepFolder) -> dict[str, bytes]:
    return {
        f"{path.parent.name}/{path.name}": Journal(path).path.read_bytes()
        for path in folder.journals()
    }


def test_what_is_packed_is_unpacked_and_nothing_is_written_over(tmp_path: Path) -> None:
    here, there = SweepFolder(tmp_path / "here", "t"), SweepFolder(tmp_path / "there", "t")
    seed(here, "one", 1, **END)
    seed(here, "one", 2, **END)
    seed(here, "two", 1, **END)
    archive = archive_of(tmp_path / "records", "t")
    assert pack(here, archive) == 3
    seed(there, "one", 2)
    mine = texts(there)["one/seed_2"]
    assert unpack(archive, there) == 2 and unpack(archive, there) == 0
    assert texts(there) == {**texts(here), "one/seed_2": mine}
    assert pack(there, archive) == 2  # an unfinished one is left out


LINES = {
    "flipped": (lambda text: text.replace(b'"a": 1.5', b'"a": 2.5'), "line 2 is damaged: its che"),
    "headless": (lambda text: b"\n".join(text.splitlines()[1:]), "line 1: a journal begins with"),
    "other": (lambda text: text.replace(b"t/one", b"u/one"), "line 1"),
}


@pytest.mark.parametrize("name", LINES)
def test_damaged_records_are_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    here, there = SweepFolder(tmp_path / "here", "t"), SweepFolder(tmp_path / "there", "t")
    seed(here, "one", 1, **END)
    archive = archive_of(tmp_path, "t")
    pack(here, archive)
    change, said = LINES[name]
    archive.write_bytes(change(archive.read_bytes()))
    with pytest.raises(ConfigError, match=said):
        unpack(archive, there)
    assert not there.journals()


@pytest.mark.parametrize("key", ["u/one/seed_1", "t/../seed_1"])
def test_records_stay_in_their_sweeps_folder(tmp_path: Path, key: str) -> None:
    source = Journal(tmp_path / "source")
    source.append("start", **{**start_fields(), "run_key": key})
    archive = archive_of(tmp_path, "t")
    source.path.rename(archive)
    with pytest.raises(ConfigError, match=f"these are records of {key}, not of t"):
        unpack(archive, SweepFolder(tmp_path / "there", "t"))
    assert not (tmp_path / "there").exists()
