"""MLflow's database: made or migrated before any trial starts, checked, connected to."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.db import commands as mlflow_db
from mlflow.exceptions import MlflowException
from sqlalchemy import NullPool, create_engine

from hcl.config import ConfigError
from hcl.storage.files import locked
from sweeps.tracking.outages import outages_as_config_error
from sweeps.tracking.store import SQLITE, Store


def prepare(store: Store) -> None:
    """Create or migrate the database and create the experiment.

    Only the driver does this, before any trial starts: of eight processes that first use a new
    sqlite file at the same time, seven fail.

    Raises:
        ConfigError: the store cannot be used; one sentence.
    """
    with outages_as_config_error(store), _only_driver(store):
        if (database := store.sqlite_file) is not None and not database.exists():
            _make_database(database)
        try:
            client = connect(store)
        except MlflowException as error:
            if "out-of-date database schema" not in str(error):
                raise
            upgrade(store.tracking_uri)
            client = connect(store)
        experiment = client.get_experiment_by_name(store.experiment)
        if experiment is None:
            client.create_experiment(store.experiment, _artifact_location(store))
        elif experiment.lifecycle_stage != "active":
            raise ConfigError(
                f"the MLflow experiment {store.experiment!r} was deleted; "
                "restore it, or give the sweep another --name"
            )


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
    """
    if (database := store.sqlite_file) is not None:
        check_sqlite(database)
        if not database.exists():
            raise FileNotFoundError(f"there is no MLflow database {database}")
    return MlflowClient(store.tracking_uri)


def check_store(store: Store) -> None:
    """Ask whether the store can be used, without creating anything.

    Raises:
        ConfigError: it cannot; one sentence.
    """
    with outages_as_config_error(store):
        if store.is_http:
            connect(store).search_experiments(max_results=1)
        elif (database := store.sqlite_file) is None:
            check_answers(store.tracking_uri)
        else:
            check_sqlite(database)
            nearest = next(path for path in database.parents if path.exists())
            with tempfile.TemporaryFile(dir=nearest):
                pass


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
