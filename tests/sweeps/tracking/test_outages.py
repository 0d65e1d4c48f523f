"""Tracking with a store that is unreachable, interrupted, out of date, or has a password."""

import logging
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from journals import write_journal
from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine
from mlflow.store.tracking.dbmodels.initial_models import Base
from stored import artifacts, points, the_run

from hcl.config import ConfigError
from sweeps.records.journal import Journal
from sweeps.records.redact import redact
from sweeps.tracking import (
    Store,
    deliver,
    deliver_all,
    delivery,
    local_store,
    prepare,
    start_sweep,
)
from sweeps.tracking.database import connect, upgrade

# The first test makes the database: a second alone, more on a busy machine.
pytestmark = pytest.mark.timeout(60)


def test_secrets_reach_neither_store_nor_messages(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = "http://me:hunter2@127.0.0.1:9/path"
    assert redact(f"no answer from {uri}") == "no answer from http://***@127.0.0.1:9/path"
    parent = start_sweep(store, "secret", {}, {"command": f"hcl sweep --tracking-uri {uri}"})
    assert "hunter2" not in str(connect(store).get_run(parent).to_dictionary())
    folder = write_journal(tmp_path, "secret/0000/seed_1", tasks=1)
    Journal(folder).append("failed", reason=f"cannot reach {uri}")
    assert deliver(store, folder, None)
    assert "hunter2" not in str(the_run(store, "secret/0000/seed_1").to_dictionary())
    away = Store(uri, None, "demo")
    with caplog.at_level(logging.WARNING):
        assert not deliver(away, folder, None)
    with pytest.raises(ConfigError) as error:
        prepare(away)
    assert "hunter2" not in caplog.text + str(error.value) + repr(away)


def test_an_unreachable_server_is_one_sentence_within_seconds(tmp_path: Path) -> None:
    away = Store("http://127.0.0.1:9", None, "demo")
    began = time.monotonic()
    with pytest.raises(ConfigError, match="http://127.0.0.1:9 cannot be used.*--tracking-uri"):
        prepare(away)
    assert not deliver(away, write_journal(tmp_path), None)
    assert time.monotonic() - began < 8


def test_all_journals_at_once_send_only_what_is_missing(store: Store, tmp_path: Path) -> None:
    sweep = store.experiment
    whole, part, damaged = (
        write_journal(tmp_path / str(n), f"{sweep}/000{n}/seed_1", tasks=3) for n in range(3)
    )
    journals = [whole, part, damaged]
    assert deliver_all(store, journals, None) == [True, True, True]
    before = [the_run(store, f"{sweep}/000{n}/seed_1").to_dictionary() for n in range(3)]
    Journal(part).append("failed", reason="out of memory", status="FAILED")
    with open(damaged / "journal.jsonl", "ab") as file:
        file.write(b"no JSON\n")
    (whole / ".deliver.lock").unlink()
    assert deliver_all(store, journals, None) == [True, True, False]
    assert not (whole / ".deliver.lock").exists()  # it was left in peace
    after = [the_run(store, f"{sweep}/000{n}/seed_1").to_dictionary() for n in range(3)]
    assert after[0] == before[0]
    assert after[1]["info"]["status"] == "FAILED"


def test_all_journals_wait_once_for_a_server_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    folders = [write_journal(tmp_path / str(n), f"demo/{n:04d}/seed_1") for n in range(8)]
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:  # takes calls, says nothing
        away = Store(f"http://127.0.0.1:{silent.getsockname()[1]}", None, "demo")
        began = time.monotonic()
        assert deliver_all(away, folders, None) == [False] * 8
    assert time.monotonic() - began < 7  # two questions of a second, not nine


def test_a_trial_never_makes_a_database(tmp_path: Path, storage: Path) -> None:
    folder = write_journal(tmp_path)
    assert not deliver(local_store(tmp_path / "missing", "demo"), folder, None)
    assert not (tmp_path / "missing").exists()
    assert not deliver(local_store(storage, "no such experiment"), folder, None)


def test_a_damaged_or_missing_journal_does_not_raise(store: Store, tmp_path: Path) -> None:
    assert deliver(store, tmp_path / "nothing", None)
    (tmp_path / "journal.jsonl").write_text("not JSON\n")
    assert not deliver(store, tmp_path, None)


def test_a_damaged_database_of_ours_may_be_removed(tmp_path: Path) -> None:
    folder = write_journal(tmp_path / "sweeps")
    store = local_store(tmp_path, "demo")
    prepare(store)
    database = tmp_path / "mlflow.db"
    whole = database.read_bytes()
    remedy = "; remove it, then hcl sync records all runs anew from their journals"
    for damaged in (b"junk" + whole[4:], whole[:100] + bytes(len(whole) - 100)):
        database.write_bytes(damaged)
        assert not deliver(store, folder, None)
        with pytest.raises(ConfigError) as caught:
            prepare(store)
        assert str(caught.value).endswith(remedy) and str(database) in str(caught.value)
    notes = tmp_path / "notes.txt"
    notes.write_text("not to be removed")
    with pytest.raises(ConfigError, match="check --storage and --tracking-uri$"):
        prepare(Store(f"sqlite:///{notes}", None, "demo"))
    database.unlink()
    program = (
        "import sys; from pathlib import Path\n"
        "from sweeps.tracking import deliver, local_store, prepare\n"
        "store = local_store(Path(sys.argv[1]), 'demo')\n"
        "prepare(store)\n"
        "assert deliver(store, Path(sys.argv[2]), None)\n"
    )
    # In a process of its own: this one keeps MLflow's connections to the removed file.
    subprocess.run([sys.executable, "-c", program, str(tmp_path), str(folder)], check=True)


def test_a_relative_store_means_the_same_file_in_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("sqlite:///mlflow.db", "artifacts", "demo")
    assert store.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert store.artifact_root == f"{tmp_path}/artifacts"


class Interrupted:
    """A real client whose n-th call is an outage, before or after the call did its work."""

    def __init__(self, store: Store, failing_call: int, is_done: bool) -> None:
        self.client, self.left, self.is_done = connect(store), failing_call, is_done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.is_done:
                raise ConnectionError("outage")
            result = method(*args, **kwargs)
            if self.left == 0:
                raise ConnectionError("outage")
            return result

        return call


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_outage_at_any_call_is_made_good_by_the_next_delivery(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deliver(store, write_journal(tmp_path, "demo/9999/seed_1", names=("test/task",)), None)
    expected = points(store, "demo/9999/seed_1")
    trial, is_interrupted = 0, True
    while is_interrupted:
        trial += 1
        is_interrupted = False
        for is_done in (False, True):
            key = f"demo/{trial:04d}/seed_{1 + is_done}"
            folder = write_journal(tmp_path, key, names=("test/task",))
            client = Interrupted(store, trial, is_done)
            with monkeypatch.context() as patch:
                patch.setattr(delivery, "connect", lambda _, client=client: client)
                is_interrupted |= not deliver(store, folder, None)
            assert deliver(store, folder, None)
            assert points(store, key) == expected
            assert the_run(store, key).info.status == "FINISHED"
            assert len(artifacts(store, key)) == 4
    assert trial == 9  # the eight calls of one delivery, each interrupted once


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_database_of_an_older_mlflow_is_migrated(tmp_path: Path) -> None:
    store = local_store(tmp_path, "demo")
    engine = create_sqlalchemy_engine(store.tracking_uri)
    Base.metadata.create_all(engine)
    config = _get_alembic_config(store.tracking_uri)
    head = ScriptDirectory.from_config(config).get_current_head()
    command.upgrade(config, f"{head}-1")
    engine.dispose()
    # MLflow itself updates a database that lacks a table, and refuses one that lacks a column.
    # Which of the two an old one is depends on the version, so the second way is taken by hand.
    upgrade(store.tracking_uri)
    prepare(store)
    assert deliver(store, write_journal(tmp_path), None)
