"""MLflow's new sqlite file has the tables that MLflow itself makes, all of them or none."""

import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sweeps.tracking import local_store, prepare
from sweeps.tracking.database import connect

pytestmark = pytest.mark.timeout(120)

MAKE = "import sys; from pathlib import Path; from sweeps.tracking import *; prepare({store})"


def tables(path: Path) -> list[tuple[str, str, list[str]]]:
    """List every table and index with the words of its statement, and the schema's version.

    Words are sorted: migrations that copy a table write its constraints in any order.
    """
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name")
        words = [(kind, name, sorted(re.findall(r"\w+", sql or ""))) for kind, name, sql in found]
        ((version,),) = database.execute("SELECT version_num FROM alembic_version")
    return [*words, ("version", version, [])]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_has_the_tables_that_mlflow_makes(tmp_path: Path) -> None:
    store = local_store(tmp_path / "ours", "e")
    prepare(store)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.create_experiment("e")
    assert tables(tmp_path / "ours" / "mlflow.db") == tables(tmp_path / "mlflow.db")
    assert files(tmp_path / "ours") == ["mlflow.db", "mlflow.lock"]
    names = [found.name for found in connect(store).search_experiments()]
    assert sorted(names) == ["Default", "e"]


def test_a_draft_that_a_kill_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".mlflow.db.123.draft").write_text("half")
    prepare(local_store(tmp_path, "e"))
    assert files(tmp_path) == ["mlflow.db", "mlflow.lock"]


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_no_half_database(tmp_path: Path) -> None:
    code = MAKE.format(store=f"local_store(Path({str(tmp_path)!r}), 'e')")
    maker = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("*.draft")):
        assert maker.poll() is None, "the draft was missed"
        time.sleep(0.001)
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    assert not (tmp_path / "mlflow.db").exists()
    prepare(local_store(tmp_path, "e"))
    assert files(tmp_path) == ["mlflow.db", "mlflow.lock"]
