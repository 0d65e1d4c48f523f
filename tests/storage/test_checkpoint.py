"""Checkpoints: whole on disk or not there; nothing unsafe or damaged is read."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import assert_same

from hcl.storage import checkpoint

STATE: dict[str, Any] = {
    "weights": torch.linspace(0, 1, 300),
    "nested": {"steps": [1, 2.5, "x", None, True], "order": torch.arange(5)},
}


def test_round_trip(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "if" / "missing"
    path = checkpoint.save(folder, 7, STATE)
    assert list(folder.iterdir()) == [path]
    loaded = checkpoint.load_latest(folder)
    assert_same(loaded, STATE)


def test_nothing_to_load(tmp_path: Path) -> None:
    assert checkpoint.load_latest(tmp_path) is None
    assert checkpoint.load_latest(tmp_path / "missing") is None


def test_the_newest_two_are_kept_in_numeric_order(tmp_path: Path) -> None:
    for number in (2, 9, 10, 1000, 999):
        checkpoint.save(tmp_path, number, {"number": number})
    assert checkpoint.load_latest(tmp_path) == {"number": 1000}
    assert len(list(tmp_path.iterdir())) == checkpoint.KEEP == 2


def test_trim_keeps_the_newest(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    for number in (1, 2):
        checkpoint.save(tmp_path, number, {"number": number})
    checkpoint.trim(tmp_path, keep=5)
    assert checkpoint.load_latest(tmp_path) == {"number": 2}
    checkpoint.trim(tmp_path, keep=1)
    assert checkpoint.load_latest(tmp_path) == {"number": 2}
    assert len(list(tmp_path.iterdir())) == 2


def test_half_written_drafts_of_a_killed_process_go(tmp_path: Path) -> None:
    draft = tmp_path / ".000000000001.pt.4711"
    draft.write_bytes(b"half")
    checkpoint.save(tmp_path, 2, STATE)
    assert not draft.exists() and checkpoint.load_latest(tmp_path) is not None


def test_a_failed_write_leaves_the_old_checkpoint_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, 1, {"number": 1})

    def full_disk(state: Any, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, 2, {"number": 2})
    assert checkpoint.load_latest(tmp_path) == {"number": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_draft_is_never_read(tmp_path: Path) -> None:
    """A process killed while writing leaves a draft behind."""
    path = checkpoint.save(tmp_path, 1, {"number": 1})
    (tmp_path / ".000000000002.pt.4711").write_bytes(path.read_bytes()[:100])
    assert checkpoint.load_latest(tmp_path) == {"number": 1}


class Evil:
    """Object that makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_checkpoint_is_not_run(writer: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "000000000001.pt"
    if writer == "torch":
        torch.save({"evil": Evil(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Evil(mark)))
    with pytest.warns(UserWarning, match="skipping unreadable"):
        assert checkpoint.load_latest(tmp_path) is None
    assert not mark.exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_noticed_wherever_it_is(data: st.DataObject, tmp_path: Path) -> None:
    """However a disk damages the newest file, the state read is one that was written."""
    checkpoint.save(tmp_path, 1, STATE)
    newest = checkpoint.save(tmp_path, 2, STATE)
    content = bytearray(newest.read_bytes())
    first = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans(), "truncated"):
        del content[first:]
    else:
        junk = data.draw(st.binary(min_size=1, max_size=64))[: len(content) - first]
        content[first : first + len(junk)] = junk
    newest.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.warnings, "warn", lambda *args, **kwargs: None)
        assert_same(checkpoint.load_latest(tmp_path), STATE)
