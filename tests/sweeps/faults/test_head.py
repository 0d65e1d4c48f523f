"""The driver's machine is lost for good, and the same command goes on from another one."""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from postgres import running_postgres
from servers import Server
from whole_sweeps import check_same, check_whole, finish, rows_of, start, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]


def kill_session(leader: int) -> None:
    """Kill a driver and all that it has started, as a power cut would."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            session = stat.read_text().rpartition(")")[2].split()[3]
            if session == str(leader):
                os.kill(int(stat.parent.name), signal.SIGKILL)


def test_the_same_command_goes_on_from_another_machine(
    files: Path, undisturbed: Path, server: Server, tmp_path: Path
) -> None:
    storage = tmp_path / "shared"  # the only folder that both machines have
    with running_postgres() as postgres:
        postgres.query("postgres", "CREATE DATABASE optuna")
        url = postgres.url("optuna")
        away = {"HCL_STUDY_URL": url, "MLFLOW_TRACKING_URI": server.uri}
        machines = [tmp_path / name for name in ("lost", "other")]
        for home in machines:
            home.mkdir()
        lost = start(files, storage, HOME=str(machines[0]), **away)
        wait_for(lambda: rows_of(storage, 0) >= 1)
        kill_session(lost.pid)
        lost.communicate()
        shutil.rmtree(machines[0])

        out = finish(start(files, storage, HOME=str(machines[1]), **away))
        assert "4 of 4 trials ended" in out.splitlines()[-1]
        check_whole(storage, server.uri, url)
        check_same(storage, undisturbed, url=url)
    assert not list(storage.rglob("*.db"))  # neither the study nor the runs are files
