"""Journals on real files: torn lines, strict JSON, durable records."""

import json
import math
import os
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
FIELDS = st.dictionaries(st.sampled_from(["metrics", "tags", "reason", "params"]), VALUES)


def test_records_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "trials" / "0007" / "seed_1")
    assert journal.records() == []
    journal.append("start", run_key="a/0007/seed_1", params={"method/beta": 0.01}, time=1.5)
    journal.append("task", tasks_learned=1, metrics={"test/task/acc/task_00": 0.75})
    start, task = Journal(tmp_path / "trials" / "0007" / "seed_1").records()
    assert start == {
        "kind": "start",
        "time": 1.5,
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
            journal.append("task", time=float(index), **record)
            ends.append(journal.path.stat().st_size)
        whole = journal.records()
        assert len(whole) == len(fields)
        cut = data.draw(st.integers(0, ends[-1]))
        os.truncate(journal.path, cut)
        survivors = sum(end <= cut for end in ends[1:])
        assert journal.records() == whole[:survivors]
        journal.append("end", status="FINISHED")
        assert journal.records()[:-1] == whole[:survivors]
        assert journal.records()[-1]["kind"] == "end"


def test_non_finite_numbers_become_null_and_the_file_stays_strict(tmp_path: Path) -> None:
    Journal(tmp_path).append("task", metrics={"loss/task": math.nan, "a": [math.inf, -math.inf]})

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    line = json.loads((tmp_path / "journal.jsonl").read_text(), parse_constant=refuse)
    assert line["metrics"] == {"loss/task": None, "a": [None, None]}


def test_numbers_of_numpy_and_paths_are_taken(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(
        "task", a=np.float32(0.5), b=np.int64(3), c=np.array([[1.0, np.nan]]), d=tmp_path
    )
    record = journal.records()[0]
    assert (record["a"], record["b"], record["c"]) == (0.5, 3, [[1.0, None]])
    assert record["d"] == str(tmp_path)


def test_a_value_that_json_cannot_hold_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(TypeError, match="cannot hold a object"):
        journal.append("task", metrics=object())
    assert journal.records() == []


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append("start")
    journal.append("end")
    lines = journal.path.read_bytes().split(b"\n")
    journal.path.write_bytes(b"\n".join([lines[0][:-4], *lines[1:]]))
    with pytest.raises(JournalError, match="line 1 is not JSON"):
        journal.records()
    journal.path.write_bytes(b"[1]\n")
    with pytest.raises(JournalError, match="line 1 is not a JSON object"):
        journal.records()


def test_a_killed_writer_loses_at_most_its_last_record(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sweeps.records.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for i in range(10**6):\n"
        "    journal.append('task', tasks_learned=i, metrics={'x': 'y' * 5000})\n"
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
    learned = [record["tasks_learned"] for record in Journal(tmp_path).records()]
    assert learned == list(range(len(learned)))
    assert len(confirmed) <= len(learned) <= len(confirmed) + 1
