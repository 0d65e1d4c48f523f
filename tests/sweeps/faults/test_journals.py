"""Bytes that flip in journals: the trial becomes whole again, and everything arrives once."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made import train_seed
from stored import points, the_run
from whole_sweeps import (
    GOOD,
    NAME,
    check_same,
    check_whole,
    finish,
    matrices,
    records_of,
    rows_of,
    runs,
    start,
    study_trials,
    text_of,
    wait_for,
)

from hcl import TaskReport
from hcl.config import TrialConfig
from hcl.results import Result
from sweeps.launch.mend import mend_journals
from sweeps.launch.request import SweepRequest, make_context
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.space.search_space import parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.study.searcher import OptunaSearch
from sweeps.tracking import Store, accuracy_matrices, deliver, prepare
from sweeps.workers.context import RunContext
from sweeps.workers.seed_records import single_seed

pytestmark = [
    pytest.mark.timeout(120),  # the first one imports MLflow
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

KEY = "flips/0000/seed_1"
SCORES = ("val/", "test/")


def config(**more: Any) -> TrialConfig:
    values = {"benchmark/name": "split_digits", "benchmark/num_tasks": 3, "method/name": "hnet",
              "target/hidden_sizes": [8], "method/hidden_sizes": [4], "method/chunk_size": 100,
              "train/iterations": 5, "eval_scenarios": ["task", "class"]}  # fmt: skip
    return TrialConfig.from_dict(values | more)


def flip(path: Path, line: int, at: int | None = None) -> None:
    """Flip a bit in the middle of a line (from 1), or at an offset from its start."""
    lines = path.read_bytes().split(b"\n")
    begin = sum(len(one) + 1 for one in lines[: line - 1])
    data = bytearray(path.read_bytes())
    data[begin + (len(lines[line - 1]) // 2 if at is None else at)] ^= 1
    path.write_bytes(data)


def flip_end(path: Path, line: int) -> None:
    """Flip a bit of a line's newline."""
    flip(path, line, len(path.read_bytes().split(b"\n")[line - 1]))


def train(context: RunContext, folder: Path, tasks: int | None = None, **more: Any) -> Result:
    """Train a seed, or until a number of its tasks are learned."""

    def on_task(row: TaskReport) -> None:
        if row.tasks_learned == tasks:
            raise KeyboardInterrupt  # no Exception: the journal gets no end, as after a kill

    return train_seed(config(**more), context, folder, 0, on_task=on_task)


def check_one_whole_trial(store: Store, folder: Path, result: Result) -> None:
    """The journal and MLflow have each task once, with the result's scores."""
    records = Journal(folder).records()
    tasks = {r["tasks_learned"]: r for r in records if r["kind"] == "task"}
    assert sorted(tasks) == [1, 2, 3] and records[0]["kind"] == "start"
    assert [r["accuracy"] for r in records if r["kind"] == "end"] == [result.accuracy]
    assert records[-1]["kind"] == "end"
    for name, rows in result.accuracy.items():
        for learned, row in enumerate(rows, start=1):
            expected = {f"{name}/acc/task_{i:02d}": value for i, value in enumerate(row)}
            assert expected.items() <= tasks[learned]["metrics"].items()
    run = the_run(store, KEY)
    assert run.info.status == "FINISHED"
    assert accuracy_matrices(store, run.info.run_id) == result.accuracy
    for name, series in points(store, KEY).items():
        steps = [step for step, _, _ in series]
        assert len(steps) == len(set(steps)), (name, series)


def scores(store: Store) -> dict[str, list[tuple[int, float]]]:
    found = points(store, KEY)
    return {
        name: sorted((step, value) for step, _, value in series)
        for name, series in found.items()
        if name.startswith(SCORES)
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("whole")
    away = RunContext("flips", Store("sqlite:////nowhere/mlflow.db", None, "flips"), threads=1)
    return train(away, folder)


@pytest.mark.parametrize("how", [flip, flip_end])
@pytest.mark.parametrize("line", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("is_delivered", [False, True])
def test_a_finished_seeds_journal_is_mended_from_its_result(
    how: Any, line: int, is_delivered: bool, store: Store, tmp_path: Path, whole: Result
) -> None:
    away = Store("http://127.0.0.1:9", None, "flips")
    context = RunContext("flips", store, threads=1)
    train(context if is_delivered else replace(context, store=away), tmp_path)
    before = scores(store) if is_delivered else None
    damaged = tmp_path / "journal.jsonl"
    how(damaged, line)
    data = damaged.read_bytes()
    assert not deliver(store, tmp_path, None)
    assert train(context, tmp_path).accuracy == whole.accuracy
    assert (tmp_path / "journal.jsonl.damaged-1").read_bytes() == data
    check_one_whole_trial(store, tmp_path, whole)
    assert before in (None, scores(store))
    flip(damaged, 1)
    train(context, tmp_path)
    check_one_whole_trial(store, tmp_path, whole)


@pytest.mark.parametrize("how", [flip, flip_end])
@pytest.mark.parametrize("line", [1, 2, 3])
@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_a_seed_under_way_goes_on_from_its_checkpoint(
    how: Any, line: int, has_checkpoint: bool, store: Store, tmp_path: Path, whole: Result
) -> None:
    context = RunContext("flips", store, threads=1)
    with pytest.raises(KeyboardInterrupt):
        train(context, tmp_path, tasks=2)
    how(tmp_path / "journal.jsonl", line)
    if not has_checkpoint:
        shutil.rmtree(tmp_path / "checkpoints")
    rows: list[int] = []
    result = train_seed(
        config(), context, tmp_path, 0, on_task=lambda r: rows.append(r.tasks_learned)
    )
    assert rows == ([2, 3] if has_checkpoint else [1, 2, 3])
    assert result.accuracy == whole.accuracy
    check_one_whole_trial(store, tmp_path, whole)


def test_a_line_damaged_while_its_seed_trains_is_mended_at_the_end(
    store: Store, tmp_path: Path, whole: Result, caplog: pytest.LogCaptureFixture
) -> None:
    context, path = RunContext("flips", store, threads=1), tmp_path / "journal.jsonl"

    def on_task(row: TaskReport) -> None:
        if row.tasks_learned == 2:
            flip(path, 2)

    result = train_seed(config(), context, tmp_path, 0, on_task=on_task)
    assert result.accuracy == whole.accuracy
    check_one_whole_trial(store, tmp_path, whole)
    assert f"{path}, line 2 is damaged: its checksum is wrong; it was set aside" in caplog.text


def test_a_regressions_lost_task_comes_from_its_checkpoint(store: Store, tmp_path: Path) -> None:
    context = RunContext("flips", store, threads=1)
    settings = {"benchmark/name": "toy_regression", "benchmark/num_tasks": 3}
    only = {"eval_scenarios": ["task"], **settings}
    train(context, tmp_path, **only)
    before = scores(store), Journal(tmp_path).records()
    flip(tmp_path / "journal.jsonl", 3)
    train(context, tmp_path, **only)
    assert scores(store) == before[0]
    told = {r["tasks_learned"]: r for r in Journal(tmp_path).records() if r["kind"] == "task"}
    lost = before[1][2]["metrics"]
    assert told[2]["metrics"] == {k: v for k, v in lost.items() if k.startswith(SCORES)}


def test_a_picture_outside_the_seeds_folder_is_not_uploaded(store: Store, tmp_path: Path) -> None:
    from PIL import Image

    context = RunContext("flips", store, threads=1)
    folder, secret = tmp_path / "seed_1", tmp_path / "secret.png"
    train(context, folder)
    Image.new("L", (4, 4)).save(secret)
    (folder / "link.png").symlink_to(secret)
    path = folder / "journal.jsonl"
    old = [json.loads(line) for line in path.read_text().splitlines()]
    for name in ("../secret.png", str(secret), "link.png"):
        lines = [{**r, "samples": name} if r["kind"] == "task" else r for r in old]
        for line in lines:
            line.pop("crc32", None)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        elsewhere = replace(store, experiment=store.experiment)
        is_sent = deliver(elsewhere, folder, None)
        assert is_sent == (name == "link.png")
        from sweeps.tracking.database import connect

        pictures = connect(store).list_artifacts(the_run(store, KEY).info.run_id, "images")
        assert not [file.path for file in pictures if "replay_samples" in file.path]


def test_a_sweep_mends_the_journals_of_its_confirmation(tmp_path: Path) -> None:
    request = SweepRequest(
        parse(parse_yaml(text_of([GOOD])), NAME), SweepFolder(tmp_path, NAME), study_url=None
    )
    prepare(request.store)
    context = make_context(request.store, request.settings, "confirm")
    for number in (101, 102):
        seed = single_seed(config(seed=number), request.folder)
        result = train_seed(seed.config, context, seed.folder, seed.trial)
        assert result.accuracy
        flip(seed.folder / "journal.jsonl", 2 if number == 101 else 1)
    (seed.folder / "result.json").unlink()  # with its start, nothing knows its settings
    search = OptunaSearch(request.space, NAME, request.folder.study_url)
    mend_journals(request, search, "parent")
    mended, lost = (
        Journal(single_seed(config(seed=n), request.folder).folder) for n in (101, 102)
    )
    kinds = [record["kind"] for record in mended.records()]
    assert kinds == ["start", "mended", "task", "task", "task", "end"]
    assert mended.records()[0]["phase"] == "confirm"
    assert len(lost.scan()[1]) == 1
    assert list(runs(tmp_path)["status"]) == ["FINISHED"] * 2


# --- whole sweeps ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_whose_journals_are_damaged_ends_whole(
    files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """A byte flips in each journal, under way or finished; one process is killed on top."""
    storage, draw = tmp_path / "storage", random.Random(7)
    process = start(files, storage)
    for number in range(4):
        wait_for(lambda number=number: rows_of(storage, number) >= 1 + number % 3)
        path = SweepFolder(storage, NAME).seed_folder(number, 1) / "journal.jsonl"
        data = bytearray(path.read_bytes())
        data[draw.randrange(len(data) // 2)] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
    out = finish(process)
    check_whole(storage)
    check_same(storage, undisturbed)
    assert "MLflow did not take" not in out
    for number in range(4):
        told = [r["tasks_learned"] for r in records_of(storage, number) if r["kind"] == "task"]
        assert sorted(set(told)) == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_hcl_sync_names_a_damaged_line_and_delivers_the_others(
    files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    import subprocess
    import sys

    storage = tmp_path / "storage"
    shutil.copytree(undisturbed, storage)
    shutil.rmtree(storage / "artifacts")
    (storage / "mlflow.db").unlink()
    path = SweepFolder(storage, NAME).seed_folder(1, 1) / "journal.jsonl"
    text = path.read_text()
    for damaged in (
        text.replace('"kind": "task"', '"kind": "tusk"', 1),
        text.replace('"tasks_learned": 1', '"tasks_learned": "3"', 1),
        "{}\n" + text.partition("\n")[2],
    ):
        path.write_text(damaged)
        command = [sys.executable, "-m", "sweeps.cli", "sync", NAME, "--storage", str(storage)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=files)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        line = 1 if damaged.startswith("{}") else 2
        told = [text for text in done.stderr.splitlines() if str(path) in text]
        assert len(told) == 1 and f"{path}, line {line} is damaged: " in told[0]
        assert "the command that trained it repairs it" in told[0]
        assert done.stdout.splitlines()[-1] == f"{NAME}: MLflow has 3 of 4 runs"
        assert set(runs(storage)["status"]) == {"FINISHED"} and len(runs(storage)) == 3
    finish(start(files, storage))
    check_whole(storage)
    assert matrices(storage) == matrices(undisturbed)
    assert len(study_trials(storage)) == 4
