"""MLflow's database: made or migrated before any trial starts, checked, connected to."""

import logging
import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import Enum
from pathlib import Path

import mlflow
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from mlflow import MlflowClient
from mlflow.db import commands as mlflow_db
from mlflow.entities import Experiment
from sqlalchemy import NullPool, create_engine, inspect

from hcl.config import ConfigError
from hcl.storage.files import check_writable, locked
from sweeps.tracking.outages import SchemaMismatchError, outages_as_config_error
from sweeps.tracking.store import SQLITE, Store

log = logging.getLogger(__name__)

_checked: set[str] = set()  # databases whose schema this process has compared


def prepare(store: Store) -> None:
    """Create the database and the experiment, where they are missing.

    A sqlite file of an older MLflow is upgraded, once a copy lies beside it. Other databases may
    have other writers, and are left to whoever looks after them.

    Only the driver does this, before any trial starts: of eight processes that first use a new
    sqlite file at the same time, seven fail.

    Raises:
        ConfigError: the store cannot be used; one sentence.
    """
    with outages_as_config_error(store), _only_driver(store):
        if (database := store.sqlite_file) is not None:
            if not database.exists():
                _make_database(database)
            elif find_schema(store) is Schema.OLDER:
                _copy_aside(database)
                upgrade(store.tracking_uri)
        client = connect(store)
        if _find_experiment(client, store.experiment) is None:
            client.create_experiment(store.experiment, _artifact_location(store))


def _find_experiment(client: MlflowClient, name: str) -> Experiment | None:
    """Find an experiment by name.

    Raises:
        ConfigError: it was deleted, which keeps its name taken.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage != "active":
        raise ConfigError(
            f"the MLflow experiment {name!r} was deleted; "
            "restore it, or give the sweep another --name"
        )
    return experiment


@contextmanager
def _only_driver(store: Store) -> Iterator[None]:
    """Wait while another driver prepares the same sqlite file; a server looks after itself."""
    if (database := store.sqlite_file) is None:
        yield
        return
    check_sqlite(database)
    with locked(database.with_suffix(".lock")):
        yield


def _make_database(path: Path) -> None:
    """Create MLflow's tables in a new sqlite file, all of them or none.

    They are made in a draft, which gets the file's name once it is complete. A process that is
    killed meanwhile leaves its draft behind, and the next call removes it.
    """
    for leftover in path.parent.glob(f".{path.name}.*draft*"):
        leftover.unlink(missing_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    try:
        upgrade(f"{SQLITE}{draft}")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _copy_aside(path: Path) -> None:
    """Copy a sqlite file to `mlflow.db.before-upgrade`, or the next such name that is free."""
    copy, number = path.with_name(f"{path.name}.before-upgrade"), 1
    while copy.exists():
        number += 1
        copy = path.with_name(f"{path.name}.before-upgrade-{number}")
    draft = copy.with_name(f".{copy.name}.draft")
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(draft)) as new:
        old.backup(new)  # whole even while another process reads or writes
    os.replace(draft, copy)
    log.warning("%s is upgraded for MLflow %s; as it was: %s", path, mlflow.__version__, copy)


def upgrade(uri: str) -> None:
    """Bring a database to the schema of this MLflow, or make the tables of an empty one.

    It is the documented command `mlflow db upgrade URI`. A process of its own would show a
    password in the URI to everyone who lists processes.
    """
    mlflow_db.main(["upgrade", uri], standalone_mode=False)


def connect(store: Store) -> MlflowClient:
    """Open a client for a store that `prepare` has made ready.

    Raises:
        FileNotFoundError: there is no such sqlite file. MLflow would make one, and trials that
            do so at the same time spoil it.
        SchemaMismatchError: the database is another MLflow's. MLflow would change some of them
            without asking.
    """
    if (database := store.sqlite_file) is not None:
        check_sqlite(database)
        if not database.exists():
            raise FileNotFoundError(f"there is no MLflow database {database}")
    if not store.is_http and store.tracking_uri not in _checked:
        check_schema(store)
        _checked.add(store.tracking_uri)
    return MlflowClient(store.tracking_uri)


def check_store(store: Store) -> None:
    """Ask whether the store can be used, without creating anything.

    Raises:
        ConfigError: it cannot; one sentence.
    """
    with outages_as_config_error(store):
        if (database := store.sqlite_file) is not None:
            check_sqlite(database)
            check_writable(database.parent)
            if not database.exists():
                return
        elif not store.is_http:
            check_answers(store.tracking_uri)
        if store.is_http or check_schema(store, may_upgrade=True) is Schema.CURRENT:
            _find_experiment(connect(store), store.experiment)


class Schema(Enum):
    """State of a database's tables, for the MLflow that is installed here."""

    NONE = "no tables of MLflow"
    CURRENT = "its own"
    OLDER = "an older MLflow's"
    NEWER = "a newer MLflow's"
    OPTUNA = "Optuna's"


def find_schema(store: Store) -> Schema:
    """Compare the revision of a database's schema with those that this MLflow knows.

    Raises:
        SQLAlchemyError: the database does not answer.
    """
    with create_engine(store.tracking_uri, poolclass=NullPool).connect() as connection:
        names = set(inspect(connection).get_table_names())
        if "studies" in names:
            return Schema.OPTUNA
        if "experiments" not in names:
            return Schema.NONE
        found = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    if found == scripts.get_current_head():
        return Schema.CURRENT
    known = {script.revision for script in scripts.walk_revisions()}
    return Schema.OLDER if found is None or found in known else Schema.NEWER


def check_schema(store: Store, may_upgrade: bool = False) -> Schema:
    """Refuse a database whose tables this MLflow cannot use as they are.

    Args:
        store: a database, no server.
        may_upgrade: whether `prepare` follows, which upgrades a sqlite file.

    Raises:
        SchemaMismatchError: one sentence.
    """
    found, shown = find_schema(store), store.shown_uri
    if found is Schema.OPTUNA:
        raise SchemaMismatchError(
            f"the database {shown} holds Optuna's studies; give MLflow one of its own"
            " (--tracking-uri)"
        )
    if found is Schema.NEWER:
        raise SchemaMismatchError(
            f"the database {shown} is of a newer MLflow than {mlflow.__version__}, which is"
            " installed here; install that one"
        )
    if found is Schema.OLDER and store.sqlite_file is None:
        raise SchemaMismatchError(
            f"the database {shown} is of an older MLflow than {mlflow.__version__}; stop all that"
            f" write to it, make a backup, then run: mlflow db upgrade {shlex.quote(shown)}"
        )
    if found is Schema.OLDER and not may_upgrade:
        raise SchemaMismatchError(
            f"the database {shown} is of an older MLflow than {mlflow.__version__}; to upgrade it,"
            " with a copy beside it: hcl sync"
        )
    return found


def check_answers(url: str) -> None:
    """Connect to a database, and leave it as it is.

    Raises:
        SQLAlchemyError, ImportError: it does not answer, or its driver is missing.
    """
    limit = {"connect_timeout": 10} if url.startswith("postgresql") else {}
    create_engine(url, poolclass=NullPool, connect_args=limit).connect().close()


def check_sqlite(path: Path) -> None:
    """Refuse a path that is something else than a sqlite file, before anything is written.

    Raises:
        OSError: it is a folder, or a file with another content.
    """
    if path.is_dir():
        raise OSError("it is a folder")
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(16)
        if start and start != b"SQLite format 3\0":  # an empty file is a new database
            raise OSError("it is not an SQLite database")


def _artifact_location(store: Store) -> str | None:
    if store.artifact_root is None:
        return None
    return f"{store.artifact_root.rstrip('/')}/{store.experiment}"
