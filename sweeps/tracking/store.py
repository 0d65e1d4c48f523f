"""Where MLflow keeps its runs, made ready before any trial starts."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hcl.config import ConfigError
from sweeps.tracking.database import make_database

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's defaults block every call for four minutes on a dead server. Nothing is retried here
# at all: a delivery is repeated anyway, and a repeated "create run" request can make two runs.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for every run that ends
}
_SQLITE = "sqlite:///"
_KNOWN = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
# MLflow tells about every migration step of a fresh database, and logs a stack trace of every
# error beside raising it; to a user that is noise.
_CHATTY = {"alembic": logging.WARNING, "mlflow.store.db.utils": logging.CRITICAL}


@dataclass(frozen=True)
class Store:
    """Where runs go.

    Args:
        tracking_uri: `sqlite:////path/mlflow.db`, or the http address of an MLflow server.
            Credentials in it are used, and shown nowhere.
        artifact_root: folder or URI for new experiments' artifacts; None = the server decides.
        experiment: MLflow experiment of the runs written through this store: the sweep's name.
    """

    tracking_uri: str = field(repr=False)
    artifact_root: str | None
    experiment: str

    def __post_init__(self) -> None:
        scheme, slashes, _ = self.tracking_uri.partition("://")
        if not slashes or scheme.partition("+")[0] not in _KNOWN:
            raise ConfigError(
                f"--tracking-uri {redact(self.tracking_uri)}: must begin with http://, https://,"
                " sqlite:/// or postgresql://"
            )
        # A trial runs in a folder of its own, where a relative path means another file.
        if (database := _sqlite_file(self.tracking_uri)) is not None:
            query = self.tracking_uri.partition("?")[1:]
            uri = f"{_SQLITE}{database.absolute()}{''.join(query)}"
            object.__setattr__(self, "tracking_uri", uri)
        if self.artifact_root is not None and "://" not in self.artifact_root:
            object.__setattr__(self, "artifact_root", str(Path(self.artifact_root).absolute()))

    @property
    def shown_uri(self) -> str:
        """The tracking URI without credentials, for messages."""
        return redact(self.tracking_uri)


def local_store(folder: Path, experiment: str) -> Store:
    """The default: a sqlite file and an artifact folder under `folder`; needs no server."""
    folder = Path(folder).absolute()
    return Store(f"{_SQLITE}{folder / 'mlflow.db'}", str(folder / "artifacts"), experiment)


def is_made(store: Store) -> bool:
    """False where the store is a file that nobody has made yet, so that it holds nothing."""
    database = _sqlite_file(store.tracking_uri)
    return database is None or database.exists()


def prepare(store: Store) -> None:
    """Create or migrate the database and create the experiment. The driver's job, before trials.

    Raises:
        ConfigError: The store cannot be used; one sentence.
    """
    from mlflow.exceptions import MlflowException

    with told_as_config_error(store), _one_at_a_time(store) as database:
        if database is not None and not database.exists():
            set_environment()
            make_database(database)
        try:
            client = connect(store, create=True)
        except MlflowException as error:
            if "out-of-date database schema" not in str(error):
                raise
            _migrate(store)
            client = connect(store, create=True)
        experiment = client.get_experiment_by_name(store.experiment)
        if experiment is None:
            client.create_experiment(store.experiment, _artifact_location(store))
        elif experiment.lifecycle_stage != "active":
            raise ConfigError(
                f"the MLflow experiment {store.experiment!r} was deleted; "
                "restore it, or give the sweep another --name"
            )


def check_store(store: Store) -> None:
    """Ask whether the store can be used, without making anything.

    Raises:
        ConfigError: it cannot; one sentence.
    """
    with told_as_config_error(store):
        if store.tracking_uri.startswith("http"):
            connect(store).search_experiments(max_results=1)
        elif (database := _sqlite_file(store.tracking_uri)) is None:
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
    from sqlalchemy import NullPool, create_engine

    limit = {"connect_timeout": 10} if url.startswith("postgresql") else {}
    create_engine(url, poolclass=NullPool, connect_args=limit).connect().close()


def connect(store: Store, create: bool = False) -> MlflowClient:
    """A client for the store.

    Args:
        store: what to connect to.
        create: whether a missing sqlite file is made. Eight trials doing so at once is a race
            that seven lose, so that only `prepare` asks for it.

    Raises:
        FileNotFoundError: There is no sqlite file, and none is to be made.
    """
    set_environment()
    database = _sqlite_file(store.tracking_uri)
    if database is not None:
        check_sqlite(database)
        if not create and not database.exists():
            raise FileNotFoundError(f"there is no MLflow database {database}")
    from mlflow import MlflowClient

    return MlflowClient(store.tracking_uri)


def set_environment() -> None:
    """Before MLflow is imported; what the user has set stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name, level in _CHATTY.items():
        logging.getLogger(name).setLevel(level)


def outages() -> tuple[type[Exception], ...]:
    """What MLflow raises when a store is gone, full, locked or refuses a request."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    # ImportError: a database whose driver is not installed.
    return (MlflowException, RequestException, SQLAlchemyError, OSError, ImportError)


@contextmanager
def told_as_config_error(store: Store) -> Iterator[None]:
    """Turn an outage into one sentence that names the store and the fix."""
    try:
        yield
    except outages() as error:
        reason = why(error)
        hint = (
            "start it, or check --tracking-uri"
            if store.tracking_uri.startswith("http")
            else "check --storage and --tracking-uri"
        )
        raise ConfigError(
            f"the MLflow store {store.shown_uri} cannot be used ({reason}); {hint}"
        ) from error


def why(error: BaseException) -> str:
    """What an outage comes down to: `Connection refused` out of a page of wrapped errors."""
    text = redact(" ".join(str(getattr(error, "orig", None) or error).split()))
    for pattern in (
        r"\[Errno -?\d+\] ([^'\")]+)",  # of the operating system
        r"port \d+ failed: (?:FATAL: )?(.*?)(?: Is the server running|$)",  # of PostgreSQL
        r"failed with error code (\d+)",  # of an MLflow server
        r"(timed out)",
    ):
        if found := re.search(pattern, text):
            reason = found.group(1).strip()
            return _HTTP.get(reason, f"it answers {reason}" if reason.isdigit() else reason)
    return text[:150]


_HTTP = {
    "401": "it wants a user and a password: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD",
    "403": "it refuses this user or this host name (403)",
}


def redact(text: str) -> str:
    """`text` without the credentials in any URI: `http://user:key@host` -> `http://***@host`.

    Also where the slashes were forgotten, or the password is a parameter of the query.
    """
    text = re.sub(r"(?<=//)[^\s'\"]*@", "***@", text)
    text = re.sub(r"(?<![^\s'\"=])[^\s'\":/@=]+:[^\s'\"/@]+@", "***@", text)
    return re.sub(r"(?<=[?&]password=)[^&\s'\"]+", "***", text)


def check_sqlite(path: Path) -> None:
    """Refuse a file that is something else, before anything is written beside it.

    Raises:
        OSError: it is.
    """
    if path.is_dir():
        raise OSError("it is a folder")
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(16)
        if start and start != b"SQLite format 3\0":  # an empty one is a new one
            raise OSError("it is not an SQLite database")


def _sqlite_file(uri: str) -> Path | None:
    if not uri.startswith(_SQLITE):
        return None
    return Path(uri.removeprefix(_SQLITE).partition("?")[0])


def _artifact_location(store: Store) -> str | None:
    if store.artifact_root is None:
        return None
    return f"{store.artifact_root.rstrip('/')}/{store.experiment}"


def _migrate(store: Store) -> None:
    """What `mlflow db upgrade` does."""
    from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine

    _upgrade_db(create_sqlalchemy_engine(store.tracking_uri))


@contextmanager
def _one_at_a_time(store: Store) -> Iterator[Path | None]:
    """Two drivers may start on one fresh storage folder; the second waits for the first.

    Gives the store's sqlite file, if it is one.
    """
    database = _sqlite_file(store.tracking_uri)
    if database is None:
        yield None
        return
    check_sqlite(database)
    database.parent.mkdir(parents=True, exist_ok=True)
    with open(database.with_suffix(".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield database
