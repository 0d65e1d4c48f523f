"""Address of the MLflow store that a sweep's runs are kept in."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from hcl.config import ConfigError
from sweeps.records.redact import redact_url

SQLITE = "sqlite:///"
PLAIN, PSYCOPG2 = "postgresql://", "postgresql+psycopg2://"
KNOWN_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class Store:
    """Place where MLflow keeps the runs of one sweep.

    Args:
        tracking_uri: `sqlite:////path/mlflow.db`, or the http address of an MLflow server.
            Credentials in it are used, and shown nowhere.
        artifact_root: folder or URI for new experiments' artifacts; None = the server decides.
        experiment: MLflow experiment of the runs written through this store: the sweep's name.

    Raises:
        ConfigError: the tracking URI has a scheme that MLflow does not know, or is a sqlite
            database in memory.
    """

    tracking_uri: str = field(repr=False)
    artifact_root: str | None
    experiment: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "tracking_uri", with_driver(self.tracking_uri))
        scheme, slashes, rest = self.tracking_uri.partition("://")
        kind = scheme.partition("+")[0]
        if not slashes or kind not in KNOWN_SCHEMES:
            raise ConfigError(
                f"--tracking-uri {self.shown_uri}: must begin with http://, https://,"
                " sqlite:/// or postgresql://"
            )
        if kind == "sqlite":
            if is_in_memory(self.tracking_uri):
                raise ConfigError(
                    f"--tracking-uri {self.shown_uri}: names no file, so the runs would be lost;"
                    " write sqlite:///PATH"
                )
            object.__setattr__(self, "tracking_uri", f"sqlite://{rest}")
        # A trial runs in a folder of its own, where a relative path would mean another file.
        if (database := self.sqlite_file) is not None:
            query = self.tracking_uri.partition("?")[1:]
            uri = f"{SQLITE}{database.absolute()}{''.join(query)}"
            object.__setattr__(self, "tracking_uri", uri)
        if self.artifact_root is not None and "://" not in self.artifact_root:
            object.__setattr__(self, "artifact_root", str(Path(self.artifact_root).absolute()))

    @property
    def sqlite_file(self) -> Path | None:
        """The database file; None where the store is a server."""
        if not self.tracking_uri.startswith(SQLITE):
            return None
        return Path(self.tracking_uri.removeprefix(SQLITE).partition("?")[0])

    @property
    def is_http(self) -> bool:
        """True for an MLflow server, False for a database."""
        return self.tracking_uri.startswith("http")

    @property
    def shown_uri(self) -> str:
        """The tracking URI without credentials, for messages."""
        return redact_url(self.tracking_uri)


def is_in_memory(url: str) -> bool:
    """Tell whether a sqlite URL names no file: its database ends with the process."""
    path, _, query = url.partition("://")[2].partition("?")
    return path.strip("/") in ("", ":memory:") or "mode=memory" in query


def local_store(folder: Path, experiment: str) -> Store:
    """Name the default store: a sqlite file and an artifact folder in `folder`, no server."""
    folder = Path(folder).absolute()
    return Store(f"{SQLITE}{folder / 'mlflow.db'}", str(folder / "artifacts"), experiment)


def is_made(store: Store) -> bool:
    """Return whether the store can hold runs: a sqlite file that does not exist yet cannot."""
    return store.sqlite_file is None or store.sqlite_file.exists()


def with_driver(url: str) -> str:
    """Name the driver that is installed in a URL of PostgreSQL that names none.

    SQLAlchemy since 2.1 takes psycopg 3 for it; this project and MLflow install psycopg2.
    """
    if url.startswith(PLAIN) and find_spec("psycopg") is None:
        return PSYCOPG2 + url.removeprefix(PLAIN)
    return url
