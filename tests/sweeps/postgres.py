"""A PostgreSQL for one test: made in a folder, on 127.0.0.1, gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "p@ss/word:%41"  # as awkward in a URL as a password can be


@dataclass(frozen=True)
class Postgres:
    """A running cluster; its user is `hcl`."""

    folder: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which libpq finds it without anything in a URL."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "hcl",
            "PGPASSFILE": str(self.folder / "pgpass"),
        }

    def url(self, database: str) -> str:
        """Return its URL with the password in it, as a person might give it."""
        from urllib.parse import quote

        secret = quote(PASSWORD, safe="")
        return f"postgresql+psycopg2://hcl:{secret}@127.0.0.1:{self.port}/{database}"

    def restart(self) -> None:
        """Restart as after a crash: connections break, what was committed stays."""
        self._control("restart")

    def stop(self) -> None:
        """Stop it at once, for good."""
        self._control("stop")

    def start(self) -> None:
        """Start it; return when it answers."""
        self._control("start")

    def _control(self, what: str) -> None:
        bin_folder = programs()
        assert bin_folder is not None
        options = ["--pgdata", self.folder / "data", "--wait", "--log", self.folder / "log"]
        options += [] if what == "start" else ["--mode", "immediate"]
        settings = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c fsync=off"
        settings += f" -c unix_socket_directories={self.folder}"
        _run(bin_folder, ["pg_ctl", *options, "--options", settings, what], _other_user())

    def query(self, database: str, text: str) -> list[tuple]:
        """Return the rows of a query."""
        import psycopg2

        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="hcl", password=PASSWORD, dbname=database
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def programs() -> Path | None:
    """Find the folder of initdb and pg_ctl, also where Debian hides it."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start one that asks for passwords even on loopback; skip where it is not installed."""
    if (bin_folder := programs()) is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    # Not tmp_path: pytest's folders cannot be entered by another user.
    with tempfile.TemporaryDirectory(prefix="hcl-pg-", ignore_cleanup_errors=True) as name:
        folder, user = Path(name), _other_user()
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir()
        (folder / "secret").write_text(PASSWORD)
        port = _free_port()
        if user:
            for path in (folder, data, folder / "secret"):
                os.chown(path, user.pw_uid, user.pw_gid)
        init = ["initdb", "--pgdata", data, "--username", "hcl", "--auth", "scram-sha-256"]
        init += ["--pwfile", folder / "secret", "--no-sync", "--encoding", "UTF8"]
        _run(bin_folder, init, user)
        postgres = Postgres(folder, port)
        postgres.start()
        try:
            _write_pgpass(postgres)
            yield postgres
        finally:
            postgres.stop()


def _other_user() -> pwd.struct_passwd | None:
    """Find the user to run PostgreSQL as where we are root, whom it refuses; None otherwise."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is no other user")


def _run(folder: Path, command: list, user: pwd.struct_passwd | None) -> None:
    program, *arguments = map(str, command)
    ids: dict[str, Any] = {}
    if user:
        ids = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    done = subprocess.run(
        [str(folder / program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # pg_ctl's server would keep a pipe open for ever
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        **ids,
    )
    assert done.returncode == 0, f"{program} failed"


def _write_pgpass(postgres: Postgres) -> None:
    path = postgres.folder / "pgpass"
    path.write_text("127.0.0.1:*:*:hcl:" + PASSWORD.replace(":", "\\:") + "\n")
    path.chmod(0o600)  # libpq ignores it otherwise


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
