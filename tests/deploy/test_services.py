"""Real services of a cluster: PostgreSQL, MLflow's server with its login, the study by URL.

The server is started by the script that a cluster's head node runs.
"""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from journals import write_journal
from postgres import PASSWORD, Postgres, programs, running_postgres

from hcl.config import ConfigError
from sweeps.tracking import Store, deliver, prepare, runs_frame, start_sweep

ROOT = Path(__file__).resolve().parents[2]
SPACE = """
trial:
  benchmark: {name: split_digits, num_tasks: 2, val_fraction: 0.2}
  target: {hidden_sizes: [8]}
  method: {name: hnet, hidden_sizes: [4], chunk_size: 100, embedding_size: 4}
  train: {iterations: 5, batch_size: 16}
search:
  method/beta: {type: float, low: 1e-4, high: 1.0, log: true}
sweep: {num_trials: 2, max_concurrent_trials: 2}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@dataclass(frozen=True)
class Services:
    """Services of a head node."""

    postgres: Postgres
    uri: str
    home: Path


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    home = tmp_path_factory.mktemp("home")
    with running_postgres() as postgres, pytest.MonkeyPatch.context() as patch:
        for database in ("mlflow", "mlflow_auth", "optuna"):
            postgres.query("postgres", f"CREATE DATABASE {database}")
        patch.setenv("HOME", str(home))  # clients look for ~/.mlflow/credentials too
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            patch.delenv(name, raising=False)
        server, uri = start_server(postgres, home)
        try:
            yield Services(postgres, uri, home)
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def start_server(postgres: Postgres, home: Path) -> tuple[subprocess.Popen, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    script = ["bash", str(ROOT / "deploy" / "mlflow_server.sh"), "127.0.0.1", str(port)]
    own = {"HCL_PYTHON": sys.executable, "HCL_MLFLOW_WORKERS": "1"}
    log = home / "server.log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [*script, str(home / "artifacts")],
            env=os.environ | postgres.environment | own,
            cwd=home,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    deadline = time.monotonic() + 300
    while answer(f"{uri}/health") != 200:
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
    return server, uri


def answer(url: str, **headers: str) -> int:
    """Return the status of a request, 0 if nobody answers."""
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def secret_of(services: Services) -> str:
    text = (services.home / ".mlflow" / "credentials").read_text()
    return text.partition("mlflow_tracking_password = ")[2].strip()


def test_the_server_lets_nobody_in_without_a_login(services: Services) -> None:
    experiments = f"{services.uri}/api/2.0/mlflow/experiments/search?max_results=1"
    assert answer(experiments) == 401
    assert answer(experiments, Host="evil.example.com") == 403
    for file in (services.home / ".mlflow").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    arguments = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert "mlflow_server.sh" in arguments or "mlflow server" in arguments
    assert PASSWORD not in arguments and secret_of(services) not in arguments
    assert secret_of(services) not in (services.home / "server.log").read_text()


def test_runs_are_delivered_and_read_back(services: Services, tmp_path: Path) -> None:
    store = Store(services.uri, None, "delivered")
    prepare(store)
    parent = start_sweep(store, "delivered", {"num_trials": 1}, {})
    folder = write_journal(tmp_path, "delivered/0000/seed_1")
    assert deliver(store, folder, parent)
    assert deliver(store, folder, parent)  # nothing twice
    frame = runs_frame(store, "delivered")
    assert frame["tasks_learned"].tolist() == [3]
    assert frame["status"].tolist() == ["FINISHED"]
    keys = services.postgres.query(
        "mlflow", "SELECT value FROM tags WHERE key = 'run_key' AND value LIKE 'delivered/%'"
    )
    assert keys == [("delivered/0000/seed_1",)]
    assert list((services.home / "artifacts").rglob("accuracy.json"))


def test_a_wrong_password_is_one_line_that_does_not_repeat_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-the-password")
    with pytest.raises(ConfigError) as caught:
        prepare(Store(services.uri, None, "refused"))
    (message,) = caught.value.errors
    assert "cannot be used" in message and "not-the-password" not in message


def test_a_second_user_reads_and_does_not_write(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(services.uri, None, "shared")
    prepare(store)
    assert deliver(store, write_journal(tmp_path, "shared/0000/seed_1"), None)
    created = requests.post(
        f"{services.uri}/api/2.0/mlflow/users/create",
        json={"username": "reader", "password": "reader's password"},
        auth=("admin", secret_of(services)),
        timeout=30,
    )
    assert created.status_code == 200, created.text
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "reader's password")
    assert runs_frame(store, "shared")["tasks_learned"].tolist() == [3]
    assert not deliver(store, write_journal(tmp_path, "shared/0001/seed_1"), None)
    assert len(runs_frame(store, "shared")) == 1


def test_databases_are_saved_whole(services: Services, tmp_path: Path) -> None:
    tools = os.environ | services.postgres.environment
    tools["PATH"] = f"{programs()}:{tools['PATH']}"
    save = ["bash", str(ROOT / "deploy" / "backup.sh"), str(tmp_path / "backup")]
    for _ in range(2):  # an older dump is replaced
        subprocess.run(save, env=tools, check=True)
    dumps = sorted(path.name for path in (tmp_path / "backup").iterdir())
    assert dumps == ["mlflow.dump", "mlflow_auth.dump", "optuna.dump"]
    services.postgres.query("postgres", "CREATE DATABASE restored")
    back = ["pg_restore", "--dbname=restored", str(tmp_path / "backup" / "mlflow_auth.dump")]
    subprocess.run(back, env=tools, check=True)
    users = services.postgres.query("restored", "SELECT username FROM users WHERE is_admin")
    assert users == [("admin",)]


def sweep(services: Services, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "tiny.yaml").write_text(SPACE)
    command = [sys.executable, "-m", "sweeps.cli", "sweep", str(folder / "tiny.yaml")]
    command += ["--storage", str(folder / "storage"), "--tracking-uri", services.uri]
    # As most people write it, without the driver.
    study = {"HCL_STUDY_URL": services.postgres.url("optuna").replace("+psycopg2", "")}
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, cwd=ROOT, env=os.environ | study
    )


def test_a_sweep_keeps_its_study_in_postgresql_and_goes_on(
    services: Services, tmp_path: Path
) -> None:
    done = sweep(services, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    more = sweep(services, tmp_path, "--num-trials", "3")
    assert more.returncode == 0, more.stdout + more.stderr

    rows = services.postgres.query(
        "optuna",
        "SELECT trials.number, trials.state FROM trials JOIN studies USING (study_id)"
        " WHERE study_name = 'tiny' ORDER BY 1",
    )
    assert rows == [(0, "COMPLETE"), (1, "COMPLETE"), (2, "COMPLETE")]
    assert not list(tmp_path.rglob("*.db"))  # neither the study nor the runs are files
    frame = runs_frame(Store(services.uri, None, "tiny"), "tiny")
    assert sorted(frame["tags.run_key"]) == [f"tiny/{n:04d}/seed_1" for n in range(3)]

    # The password went by the environment, and is shown and written nowhere.
    secrets = (PASSWORD, quote(PASSWORD, safe=""), secret_of(services))
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for secret in secrets:
        assert secret not in done.stdout + done.stderr + more.stdout + more.stderr
        assert not any(secret.encode() in content for content in written)
