"""URLs of databases, as a person writes them."""

from importlib.util import find_spec

PLAIN, PSYCOPG2 = "postgresql://", "postgresql+psycopg2://"


def with_driver(url: str) -> str:
    """Name the driver that is installed in a URL of PostgreSQL that names none.

    SQLAlchemy since 2.1 takes psycopg 3 for it; this project and MLflow install psycopg2.
    """
    if url.startswith(PLAIN) and find_spec("psycopg") is None:
        return PSYCOPG2 + url.removeprefix(PLAIN)
    return url
