"""Outages of a store: which exceptions they are, and what to tell the user about one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from hcl.config import ConfigError
from sweeps.tracking.store import Store, redact

# What MLflow raises when a store is gone, full or locked, or refuses a request. ImportError is
# a database whose driver is not installed.
OUTAGES = (MlflowException, RequestException, SQLAlchemyError, OSError, ImportError)

REASONS = {
    "401": "it wants a user and a password: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD",
    "403": "it refuses this user or this host name (403)",
}


@contextmanager
def outages_as_config_error(store: Store) -> Iterator[None]:
    """Turn an outage into one sentence that names the store, the reason and the remedy."""
    try:
        yield
    except OUTAGES as error:
        hint = (
            "start it, or check --tracking-uri"
            if store.is_http
            else "check --storage and --tracking-uri"
        )
        raise ConfigError(
            f"the MLflow store {store.shown_uri} cannot be used ({describe_outage(error)}); {hint}"
        ) from error


def describe_outage(error: BaseException) -> str:
    """Find the reason in a page of wrapped errors, such as `Connection refused`."""
    text = redact(" ".join(str(getattr(error, "orig", None) or error).split()))
    for pattern in (
        r"\[Errno -?\d+\] ([^'\")]+)",  # of the operating system
        r"port \d+ failed: (?:FATAL: )?(.*?)(?: Is the server running|$)",  # of PostgreSQL
        r"failed with error code (\d+)",  # of an MLflow server
        r"(timed out)",
    ):
        if found := re.search(pattern, text):
            reason = found.group(1).strip()
            return REASONS.get(reason, f"it answers {reason}" if reason.isdigit() else reason)
    return text[:150]
