"""Outages of a store: which exceptions they are, and what to tell the user about one."""

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException, RestException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from hcl.config import ConfigError
from sweeps.records.disk_full import is_full
from sweeps.records.redact import redact
from sweeps.tracking.store import Store, local_store


class SchemaMismatchError(RuntimeError):
    """A database's tables are another MLflow's; the message says what to do."""


# What MLflow raises when a store is gone, full or locked, or refuses a request. ImportError is
# a database whose driver is not installed.
OUTAGES = (
    MlflowException,
    RequestException,
    SQLAlchemyError,
    OSError,
    ImportError,
    SchemaMismatchError,
)

# What sqlite, and our look at a file's first bytes, say of a damaged database.
DAMAGED = ("malformed", "file is not a database", "not an SQLite database")
REASONS = {
    "401": "it wants a user and a password: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD",
    "403": "it refuses this user or this host name (403)",
}


@contextmanager
def outages_as_config_error(store: Store) -> Iterator[None]:
    """Turn an outage into one sentence that names the store, the reason and the remedy."""
    try:
        yield
    except SchemaMismatchError as error:
        raise ConfigError(str(error)) from error
    except OUTAGES as error:
        reason = describe_outage(error, store.tracking_uri)
        raise ConfigError(
            f"the MLflow store {store.shown_uri} cannot be used ({reason});"
            f" {_remedy(store, error)}"
        ) from error


def _remedy(store: Store, error: BaseException) -> str:
    if store.is_http:
        return "start it, or check --tracking-uri"
    is_ours = store.sqlite_file is not None and store == local_store(
        store.sqlite_file.parent, store.experiment
    )
    if is_ours and any(words in str(error) for words in DAMAGED):
        # Another file may be anything; this one holds nothing that the journals do not.
        return "remove it, then hcl sync records all runs anew from their journals"
    return "check --storage and --tracking-uri"


def describe_outage(error: BaseException, url: str) -> str:
    """Find the reason in a page of wrapped errors, such as `Connection refused`.

    Args:
        error: what was raised.
        url: address that was used, whose password is hidden in what the error says.
    """
    if is_full(error):
        return "no space left on device"
    text = redact(" ".join(str(getattr(error, "orig", None) or error).split()), url)
    for pattern in (
        r"\[Errno -?\d+\] ([^'\")]+)",  # of the operating system
        r"port \d+ failed: (?:FATAL: )?(.*?)(?: Is the server running|$)",  # of PostgreSQL
        r"failed with error code (\d+)",  # of an MLflow server
        r"too many (\d+) error responses",  # of urllib3, which retries nothing here
        r"(timed out)",
    ):
        if found := re.search(pattern, text):
            reason = found.group(1).strip()
            return REASONS.get(reason, f"it answers {reason}" if reason.isdigit() else reason)
    reason = textwrap.shorten(text, 150, placeholder=" ...") or type(error).__name__
    if isinstance(error, RestException):
        return f"it answers {error.get_http_status_code()}: {reason}"
    return reason
