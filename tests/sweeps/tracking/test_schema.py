"""Databases of another MLflow: our own file is copied and upgraded, others are left alone."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
from postgres import PASSWORD, Postgres, running_postgres

from hcl.config import ConfigError
from sweeps.tracking import Store, local_store, prepare, runs_frame
from sweeps.tracking.database import Schema, check_store, connect, find_schema

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def make_old(url: str) -> str:
    """Make the tables that MLflow had one revision ago; return that revision."""
    engine = sqlalchemy.create_engine(url)
    Base.metadata.create_all(engine)
    config = _get_alembic_config(url)
    head = ScriptDirectory.from_config(config).get_revision("head")
    command.upgrade(config, head.down_revision)
    engine.dispose()
    return head.down_revision


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def test_our_own_file_is_copied_beside_itself_and_upgraded(tmp_path: Path) -> None:
    store, path = local_store(tmp_path, "demo"), tmp_path / "mlflow.db"
    old = make_old(store.tracking_uri)
    check_store(store)  # a dry run leaves it
    with pytest.raises(ConfigError, match=r"of an older MLflow than .*: hcl sync$"):
        runs_frame(store)  # and so does whoever reads alone
    assert revision(path) == old and not list(tmp_path.glob("*.before-upgrade*"))
    prepare(store)
    assert find_schema(store) is Schema.CURRENT
    assert revision(tmp_path / "mlflow.db.before-upgrade") == old
    prepare(store)
    assert len(list(tmp_path.glob("*.before-upgrade*"))) == 1 and len(runs_frame(store)) == 0


def test_an_earlier_copy_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db.before-upgrade").write_text("precious")
    old = make_old(local_store(tmp_path, "demo").tracking_uri)
    prepare(local_store(tmp_path, "demo"))
    assert (tmp_path / "mlflow.db.before-upgrade").read_text() == "precious"
    assert revision(tmp_path / "mlflow.db.before-upgrade-2") == old


def test_a_newer_file_and_optunas_are_refused_and_stay_as_they_are(tmp_path: Path) -> None:
    store, path = local_store(tmp_path, "demo"), tmp_path / "mlflow.db"
    prepare(store)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        database.commit()
    content = path.read_bytes()
    other = Store(f"sqlite:///{tmp_path / 'newer.db'}", None, "demo")
    path.rename(tmp_path / "newer.db")
    for step in (check_store, prepare):
        with pytest.raises(ConfigError, match=r"is of a newer MLflow than 3\.\d+.* install that"):
            step(other)
    assert (tmp_path / "newer.db").read_bytes() == content
    optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    study = Store(f"sqlite:///{tmp_path / 'study.db'}", None, "demo")
    for step in (check_store, prepare):
        with pytest.raises(ConfigError, match="holds Optuna's studies; give MLflow one of its"):
            step(study)


def test_a_deleted_experiment_is_refused_before_anything_starts(tmp_path: Path) -> None:
    store = local_store(tmp_path, "demo")
    prepare(store)
    client = connect(store)
    client.delete_experiment(client.get_experiment_by_name("demo").experiment_id)
    for step in (check_store, prepare):
        with pytest.raises(ConfigError, match="experiment 'demo' was deleted; restore it"):
            step(store)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        for database in ("old", "fresh"):
            postgres.query("postgres", f"CREATE DATABASE {database}")
        yield postgres


@pytest.mark.slow
def test_a_database_that_others_may_use_is_never_upgraded(postgres: Postgres) -> None:
    url = postgres.url("old")
    old = make_old(url)
    for step in (check_store, prepare, runs_frame):
        with pytest.raises(ConfigError) as error:
            step(Store(url, None, "demo"))
        shown = f"postgresql+psycopg2://***@127.0.0.1:{postgres.port}/old"
        assert str(error.value).endswith(
            f"stop all that write to it, make a backup, then run: mlflow db upgrade '{shown}'"
        )
        assert PASSWORD not in str(error.value)
    assert postgres.query("old", "SELECT version_num FROM alembic_version") == [(old,)]
    assert not postgres.query("old", "SELECT 1 FROM experiments WHERE name = 'demo'")


@pytest.mark.slow
def test_an_empty_database_is_made_by_the_start_and_not_by_its_check(postgres: Postgres) -> None:
    store = Store(postgres.url("fresh"), None, "demo")
    check_store(store)
    assert find_schema(store) is Schema.NONE
    prepare(store)
    assert find_schema(store) is Schema.CURRENT
