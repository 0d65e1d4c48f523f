"""A whole sweep with passwords in its URLs: none is in a file, a tag, a message or a process."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from bad_input import SPACE
from postgres import Postgres, running_postgres

from sweeps.records.folder import SweepFolder
from sweeps.tracking import Store
from sweeps.tracking.database import connect

MARK = "Zq7"  # in every secret, and nowhere else
SECRET = f'{MARK} it\'s "5ecret" {MARK}%'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        literal = SECRET.replace("'", "''")
        postgres.query("postgres", f"CREATE ROLE me SUPERUSER LOGIN PASSWORD '{literal}'")
        for database in ("optuna", "mlflow"):
            postgres.query("postgres", f"CREATE DATABASE {database}")
        yield postgres


def started_by(parent: int) -> Iterator[Path]:
    """Find the processes that a process started, theirs included."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                yield status.parent
                yield from started_by(int(status.parent.name))
        except OSError:
            continue  # it ended meanwhile


def files_with_secrets(*folders: Path) -> list[str]:
    found = []
    for path in (path for folder in folders for path in folder.rglob("*")):
        try:
            if path.is_file() and MARK.encode() in path.read_bytes():
                found.append(str(path))
        except OSError:
            continue
    return found


def test_no_password_of_a_sweep_is_kept_or_shown(postgres: Postgres, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    server = f"127.0.0.1:{postgres.port}"
    as_typed = SECRET.replace("%", "%25")  # quotes and spaces in clear
    study = f"postgresql+psycopg2://me:{as_typed}@{server}/optuna?sslpassword={MARK}'s"
    runs = f"postgresql+psycopg2://{server}/mlflow?user=me&password={quote(SECRET)}"
    command = [sys.executable, "-m", "sweeps.cli", "sweep", "space.yaml", "--storage", "kept"]
    command += ["--study-url", study, f"--tracking-uri={runs}"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen: dict[str, str] = {}
    sessions: set[str] = set()
    kept: set[str] = set()
    while process.poll() is None:
        for child in started_by(process.pid):
            try:
                arguments = (child / "cmdline").read_text(errors="replace")
                seen[child.name] = arguments
                sessions |= {
                    part.split("/sockets")[0].split("/logs")[0].split("=")[-1]
                    for part in arguments.split("\0")
                    if "/session_" in part
                }
            except OSError:
                continue
        kept |= set(files_with_secrets(*map(Path, sessions)))  # Ray's folder goes at the end
        time.sleep(0.2)
    text = process.communicate()[0]
    assert process.returncode == 0, text
    assert len(seen) > 3 and sessions and not [line for line in seen.values() if MARK in line]
    assert MARK not in text
    assert not kept and files_with_secrets(tmp_path) == []

    info = SweepFolder(tmp_path / "kept", "space").read_info()
    assert info["study_url"].startswith(f"postgresql+psycopg2://***@{server}/optuna?")
    assert "--num" not in info["command"] and "sweep space.yaml" in info["command"]
    client = connect(Store(runs, None, "space"))
    found = client.search_runs([client.get_experiment_by_name("space").experiment_id])
    assert len(found) == 3 and MARK not in str([run.to_dictionary() for run in found])

    again = subprocess.run([*command, "--num-trials", "x"], cwd=tmp_path, capture_output=True)
    assert again.returncode == 2 and MARK.encode() not in again.stdout + again.stderr
    postgres.query("postgres", "ALTER ROLE me PASSWORD 'another'")
    again = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert again.returncode == 2 and b"password authentication failed" in again.stderr
    assert MARK.encode() not in again.stdout + again.stderr


COMMAND_THAT_RAY_KEEPS = """
import sys
sys.argv = ["hcl", "sweep", "--study-url", sys.argv[1]]
from sweeps.cluster.connection import started
import ray
with started(None):
    jobs = ray._private.worker.global_worker.gcs_client.get_all_job_info()
    print([job.entrypoint for job in jobs.values()])
"""


def test_ray_keeps_and_shows_the_command_without_passwords() -> None:
    url = f"postgresql://me:{SECRET}@host/x"
    command = [sys.executable, "-c", COMMAND_THAT_RAY_KEEPS, url]
    done = subprocess.run(command, capture_output=True, text=True)
    assert MARK not in done.stdout
    assert "hcl sweep --study-url 'postgresql://***@host/x'" in done.stdout, done.stderr
