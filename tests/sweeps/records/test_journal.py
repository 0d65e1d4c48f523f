"""Journals on real files: torn lines, strict JSON, durable records."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import matrices_of, start_fields, task_fields, write_journal

from sweeps.records.journal import Journal, JournalError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Control characters, newlines and lone surrogates' neighbours: all must stay on one line.
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(["text", "more", "x"]), VALUES)
TASK = {"tasks_learned": 1, "metrics": {}}


def test_records_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "trials" / "0007" / "seed_1")
    assert journal.records() == []
    fields = {"sweep": "a", "trial": 7, "seed": 1, "phase": "search", "time": 1.5}
    journal.append("start", run_key="a/0007/seed_1", params={"method/beta": 0.01}, **fields)
    journal.append("task", tasks_learned=1, metrics={"test/task/acc/task_00": 0.75})
    start, task = Journal(tmp_path / "trials" / "0007" / "seed_1").records()
    assert start == {
        "kind": "start",
        **fields,
        "run_key": "a/0007/seed_1",
        "params": {"method/beta": 0.01},
    }
    assert task["kind"] == "task" and task["metrics"] == {"test/task/acc/task_00": 0.75}
    assert abs(task["time"] - time.time()) < 60


@settings(max_examples=60, deadline=None)
@given(st.lists(FIELDS, min_size=1, max_size=4), st.data())
def test_truncation_at_any_byte_loses_at_most_the_last_record(
    fields: list[dict], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        ends = [0]
        for index, record in enumerate(fields):
            if index == 0:
                journal.append("start", **start_fields(), **record)
            else:
                journal.append("task", **TASK, time=float(index), **record)
            ends.append(journal.path.stat().st_size)
        whole = journal.records()
        assert len(whole) == len(fields)
        cut = data.draw(st.integers(0, ends[-1]))
        os.truncate(journal.path, cut)
        survivors = sum(end <= cut for end in ends[1:])
        assert journal.records() == whole[:survivors]
        last = ("end", {"metrics": {}}) if survivors else ("start", start_fields())
        journal.append(last[0], **last[1])
        assert journal.records()[:-1] == whole[:survivors]
        assert journal.records()[-1]["kind"] == last[0]


def test_non_finite_numbers_become_null_and_the_file_stays_strict(tmp_path: Path) -> None:
    metrics = {"loss/task": math.nan, "a": math.inf, "b": -math.inf}
    Journal(tmp_path).append("task", tasks_learned=1, metrics=metrics)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    line = json.loads((tmp_path / "journal.jsonl").read_text(), parse_constant=refuse)
    assert line["metrics"] == {"loss/task": None, "a": None, "b": None}


def test_numbers_of_numpy_and_paths_are_taken(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append("start", **start_fields())
    journal.append(
        "task", **TASK, a=np.float32(0.5), b=np.int64(3), c=np.array([[1.0, np.nan]]), d=tmp_path
    )
    record = journal.records()[1]
    assert (record["a"], record["b"], record["c"]) == (0.5, 3, [[1.0, None]])
    assert record["d"] == str(tmp_path)


def test_a_value_that_json_cannot_hold_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(TypeError, match="cannot hold a object"):
        journal.append("task", metrics=object())
    assert journal.records() == []


def test_a_record_that_is_not_of_its_kinds_shape_is_not_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for kind, fields in (
        ("tusk", TASK),
        ("task", {"metrics": {}}),
        ("task", TASK | {"tasks_learned": "3"}),
        ("task", TASK | {"metrics": {"a": "b"}}),
        ("task", TASK | {"samples": "../../../etc/passwd"}),
        ("end", {"metrics": {}, "status": "RUNNING"}),
        ("end", {"metrics": {}, "accuracy": {"test/task": [[0.5, 0.5]]}}),
    ):
        with pytest.raises(ValueError, match="a journal cannot hold this record"):
            journal.append(kind, **fields)
    assert not journal.path.exists()


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    journal = Journal(write_journal(tmp_path))
    lines = journal.path.read_bytes().split(b"\n")
    journal.path.write_bytes(b"\n".join([lines[0][:-4], *lines[1:]]))
    with pytest.raises(JournalError, match="journal.jsonl, line 1 is damaged: it is not JSON"):
        journal.records()
    journal.path.write_bytes(b"[1]\n")
    with pytest.raises(JournalError, match="line 1 is damaged: it is not a JSON object"):
        journal.records()


@pytest.mark.parametrize(
    ("good", "bad", "why"),
    [
        ("", "{}", "its kind is 'None'"),
        ("", "[" * 100_000, "it is not JSON"),
        ('"kind"', '"kinc"', "its kind is 'None'"),
        ('"tasks_learned": 2', '"tasks_learned": "3"', "its 'tasks_learned' is '3'"),
        ('"tasks_learned"', '"tasks_lerned"', "it has no 'tasks_learned'"),
        ('"time": 1700000002.0', '"time": NaN', "its 'time' is 'nan'"),
        ('"time": 1700000002.0', '"time": 1e400', "its 'time' is 'inf'"),
        ('"loss/task": 0.1', f'"loss/task": 1{"0" * 400}', "its 'metrics' is"),
    ],
)
def test_a_line_without_checksum_that_is_no_record_is_named(
    good: str, bad: str, why: str, tmp_path: Path
) -> None:
    journal = Journal(write_journal(tmp_path))
    lines = without_checksums(journal).splitlines()
    assert len(journal.records()) == len(lines) == 5
    damaged = lines[2].replace(good, bad, 1) if good else bad
    journal.path.write_text("\n".join([*lines[:2], damaged, *lines[3:], ""]))
    with pytest.raises(JournalError) as caught:
        journal.records()
    assert str(caught.value).startswith(f"{journal.path}, line 3 is damaged: {why}")


def without_checksums(journal: Journal) -> str:
    """Rewrite a journal as versions wrote it that knew no checksums."""
    text = re.sub(r', "crc32": "[0-9a-f]{8}"', "", journal.path.read_text())
    journal.path.write_text(text)
    return text


def test_a_line_without_checksum_goes_on_with_one(tmp_path: Path) -> None:
    journal = Journal(write_journal(tmp_path, tasks=1))
    old = without_checksums(journal)
    journal.append("resume")
    assert journal.path.read_text().startswith(old)
    assert [record["kind"] for record in journal.records()] == ["start", "task", "resume"]


def test_a_changed_digit_is_noticed(tmp_path: Path) -> None:
    journal = Journal(write_journal(tmp_path))
    text = journal.path.read_text()
    assert text.count('"loss/task": 0.1') == 3
    journal.path.write_text(text.replace('"loss/task": 0.1', '"loss/task": 0.7', 1))
    with pytest.raises(JournalError, match="line 2 is damaged: its checksum is wrong"):
        journal.records()


def test_any_byte_that_flips_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    """Every byte, by each of its bits: reading, appending and reading again loses nothing."""
    journal = Journal(tmp_path)
    journal.append("start", **start_fields())
    journal.append("task", **task_fields(matrices_of(names=("val/task",)), 1))
    data, whole = journal.path.read_bytes(), journal.records()
    for offset in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[offset] ^= 1 << bit
            journal.path.write_bytes(flipped)
            kept, damages = journal.scan()
            if not damages:  # in the checksum's name, which then is a field that nobody reads
                assert [delivered(r) for r in kept] == [delivered(r) for r in whole]
                continue
            assert all(record in whole for record in kept)
            assert 1 <= damages[0].line <= 3
            if offset == len(data) - 1:  # no later append may take it for a torn line
                journal.append("resume")
                kept, damages = journal.scan()
                assert damages and kept[-1]["kind"] == "resume"


def delivered(record: dict) -> dict:
    """Leave out what no version has ever written."""
    return {key: value for key, value in record.items() if key in [*start_fields(), "kind", *TASK]}


def test_a_killed_writer_loses_at_most_its_last_record(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sweeps.records.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "start = dict(run_key='a/0/seed_1', sweep='a', trial=0, seed=1, phase='x', params={})\n"
        "journal.append('start', **start)\n"
        "for i in range(10**6):\n"
        "    journal.append('task', tasks_learned=i, metrics={}, x='y' * 5000)\n"
        "    print(i, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process, process.stdout:
        confirmed = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        confirmed += [int(line) for line in process.stdout]
    learned = [record["tasks_learned"] for record in Journal(tmp_path).records()[1:]]
    assert learned == list(range(len(learned)))
    assert len(confirmed) <= len(learned) <= len(confirmed) + 1
