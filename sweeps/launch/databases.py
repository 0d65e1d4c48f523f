"""The two databases of a sweep, its study's and MLflow's: both answer, and they are not one."""

import os
import socket
from contextlib import suppress
from pathlib import Path

from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from hcl.config import ConfigError
from sweeps.records.redact import redact_url
from sweeps.tracking import Store
from sweeps.tracking.database import check_answers, check_sqlite
from sweeps.tracking.outages import describe_outage
from sweeps.tracking.store import is_in_memory

PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
LOOPBACK = "localhost"


def check_study(url: str, must_exist: bool = False) -> None:
    """Refuse a study's database that does not answer or is something else.

    Raises:
        ConfigError: names it without its password.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            if is_in_memory(url):
                raise OSError("it names no file, so the study would be lost")
            path = Path(parsed.database or "")
            check_sqlite(path)
            if must_exist and not path.is_file():
                raise FileNotFoundError("there is no such file")
        else:
            check_answers(url)
    except (SQLAlchemyError, ImportError, OSError, ValueError) as error:
        raise ConfigError(
            f"the study's database {redact_url(url)} cannot be opened"
            f" ({describe_outage(error, url)}); start it, or check --study-url"
        ) from None


def check_apart(study_url: str, store: Store) -> None:
    """Refuse one database for study and runs: Optuna and MLflow would spoil each other's tables.

    The database behind an MLflow server is not known here.

    Args:
        study_url: the study's database, which answers.
        store: MLflow's, which answers.

    Raises:
        ConfigError: they are the same, by file, or by server and name.
    """
    if store.is_http:
        return
    study, runs = make_url(study_url), make_url(store.tracking_uri)
    kind = study.get_backend_name()
    if kind != runs.get_backend_name():
        return
    is_same = identity(study) == identity(runs)
    if not is_same and kind == "postgresql":
        here = _asked(study_url)
        is_same = here is not None and here == _asked(store.tracking_uri)
    if is_same:
        raise ConfigError(
            f"--study-url and --tracking-uri name the same database, {redact_url(study_url)};"
            " Optuna and MLflow need one each: give another one to --study-url"
        )


def identity(url: URL) -> tuple[str, ...]:
    """Say which database a URL names, however it is written: its file, or its server and name."""
    kind, query = url.get_backend_name(), url.query
    if kind == "sqlite":
        path = Path((url.database or "").removeprefix("file:"))
        with suppress(FileNotFoundError):
            found = path.stat()
            return kind, str(found.st_dev), str(found.st_ino)
        return kind, str(path.resolve())
    given = {key: value if isinstance(value, str) else value[0] for key, value in query.items()}
    host = given.get("host") or url.host or os.environ.get("PGHOST") or LOOPBACK
    port = given.get("port") or url.port or os.environ.get("PGPORT") or PORTS.get(kind, "")
    user = given.get("user") or url.username or os.environ.get("PGUSER") or ""
    name = given.get("dbname") or url.database or os.environ.get("PGDATABASE") or user
    return kind, _address(host), str(port), name


def _address(host: str) -> str:
    """Return one name for all names of this machine's loopback, sockets in folders among them."""
    if host.startswith("/"):
        return LOOPBACK
    try:
        found = sorted({str(info[4][0]) for info in socket.getaddrinfo(host, None)})
    except OSError:
        return host.casefold()
    is_loopback = any(address == "::1" or address.startswith("127.") for address in found)
    return LOOPBACK if is_loopback else " ".join(found)


def _asked(url: str) -> str | None:
    """Ask a PostgreSQL which database it is; None where the user may not know."""
    engine = create_engine(url, poolclass=NullPool)
    question = "SELECT system_identifier || '/' || current_database() FROM pg_control_system()"
    with suppress(SQLAlchemyError), engine.connect() as connection:
        return str(connection.execute(text(question)).scalar_one())
    return None
