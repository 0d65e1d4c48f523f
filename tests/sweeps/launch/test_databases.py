"""Study and runs in one database are refused, however its two URLs are written."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_input import SPACE
from postgres import PASSWORD, Postgres, running_postgres
from sqlalchemy import make_url

from sweeps.launch.databases import identity


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("postgresql://a:b@localhost/x", "postgresql+psycopg2://c@127.0.0.1/x?timeout=3", True),
        ("postgresql:///x", "postgresql://[::1]/x", True),
        ("postgresql:///x?host=/var/run/postgresql", "postgresql://localhost/x", True),
        ("postgresql://h.invalid/x", "postgresql://H.invalid:5432/x", True),
        ("postgresql://x@localhost", "postgresql:///?dbname=x", True),
        ("postgresql://localhost/x", "postgresql://localhost/y", False),
        ("postgresql://localhost:5433/x", "postgresql://localhost/x", False),
        ("mysql://localhost/x", "mysql+pymysql://127.0.0.1:3306/x", True),
        ("sqlite:///a.db", "sqlite:///./b/../a.db?timeout=3", True),
        ("sqlite:///a.db", "sqlite:///b.db", False),
    ],
)  # fmt: skip
def test_a_database_is_known_by_its_server_and_name(
    one: str, other: str, is_same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)
    assert (identity(make_url(one)) == identity(make_url(other))) is is_same


def test_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "one.db").touch()
    (tmp_path / "hard.db").hardlink_to(tmp_path / "one.db")
    (tmp_path / "soft.db").symlink_to("one.db")
    names = ("one.db", "hard.db", "soft.db")
    assert len({identity(make_url(f"sqlite:///{tmp_path / name}")) for name in names}) == 1


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        postgres.query("postgres", "CREATE DATABASE shared")
        yield postgres


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_postgres_for_both_is_one_sentence_and_makes_no_table(
    postgres: Postgres, tmp_path: Path
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    url = postgres.url("shared")
    (tmp_path / "service").write_text(
        f"[mine]\nhost=127.0.0.1\nport={postgres.port}\nuser=hcl\ndbname=shared\n"
    )
    env = os.environ | {"PGSERVICEFILE": str(tmp_path / "service")} | postgres.environment
    again = url.replace("127.0.0.1", "localhost").replace("/shared", "/shared?sslmode=prefer")
    plain = url.replace("+psycopg2", "")  # as most people write it
    for other in (url, again, plain, "postgresql:///?service=mine"):
        for dry in ([], ["--dry-run"]):
            command = [sys.executable, "-m", "sweeps.cli", "sweep", "space.yaml", *dry]
            done = subprocess.run(
                [*command, "--study-url", other, "--tracking-uri", url],
                cwd=tmp_path,
                env=env,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 2, done.stderr
            assert "--study-url and --tracking-uri name the same database" in done.stderr
            assert len(done.stderr.splitlines()) == 1 and PASSWORD not in done.stderr
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert postgres.query("shared", tables) == [(0,)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["service", "space.yaml"]
