"""Sweeps that nobody watches: closed pipes and terminals, a full disk, what stays behind."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import until
from whole_sweeps import (
    GOOD,
    NAME,
    check_same,
    check_whole,
    finish,
    is_alive,
    rows_of,
    runs,
    start,
    text_of,
    trainer_of,
    wait_for,
)

HCL = [sys.executable, "-m", "sweeps.cli"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A folder with the search space of four short trials."""
    (tmp_path / f"{NAME}.yaml").write_text(text_of([GOOD] * 4))
    return tmp_path


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for what a sweep makes under TMPDIR; its name is short, as Ray's sockets need."""
    with tempfile.TemporaryDirectory(prefix="hcl-t-", dir="/tmp") as folder:
        yield Path(folder)


def ray_folders(temporary: Path) -> list[Path]:
    return list(temporary.glob("hcl-ray-*"))


# --- output that nobody reads ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_sweep_piped_into_head_goes_on(few: Path) -> None:
    sweep = start(few, few / "storage")
    assert sweep.stdout is not None and sweep.stderr is not None
    assert sweep.stdout.readline() == "starting Ray\n"
    sweep.stdout.close()  # what `head -1` does
    assert sweep.wait(timeout=250) == 0
    assert sweep.stderr.read() == ""
    check_whole(few / "storage")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_sweep_into_a_full_disk_goes_on_and_says_so(few: Path) -> None:
    command = [*HCL, "sweep", f"{NAME}.yaml", "--num-trials", "4", "--storage", "storage"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=few)
    assert done.returncode == 2
    assert done.stderr == (
        "hcl: standard output cannot be written (No space left on device); all else was done\n"
    )
    check_whole(few / "storage")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("reader", ["none", "closed early", "/dev/full"])
def test_a_list_that_nobody_reads_ends_quietly(reader: str) -> None:
    command = [*HCL, "reproduce", "--list"]
    if reader == "/dev/full":
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert done.stderr.startswith("hcl: standard output cannot be written (No space left")
        return
    read, write = os.pipe()
    if reader == "none":
        os.close(read)
    process = subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    if reader == "closed early":
        with open(read) as pipe:
            assert pipe.readline()
    _, err = process.communicate()
    assert (process.returncode, err) == (0, "")


# --- signals -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_closed_terminal_stops_a_sweep_in_order(
    files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    sweep = start(files, tmp_path)
    wait_for(lambda: rows_of(tmp_path, 0) >= 1)
    os.killpg(sweep.pid, signal.SIGHUP)  # it reaches Ray's processes too
    out = finish(sweep, status=130)
    assert out.splitlines()[-1].endswith("--resume")
    statuses = set(runs(tmp_path)["status"])
    assert "RUNNING" not in statuses and "KILLED" in statuses
    finish(start(files, tmp_path))
    check_whole(tmp_path)
    check_same(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_under_nohup_a_closed_terminal_stops_nothing(few: Path) -> None:
    command = [*HCL, "sweep", f"{NAME}.yaml", "--num-trials", "4", "--storage", "storage"]
    sweep = subprocess.Popen(
        ["nohup", *command], cwd=few, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: rows_of(few / "storage", 0) >= 1)
    os.killpg(sweep.pid, signal.SIGHUP)
    finish(sweep)
    check_whole(few / "storage")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_ui_frees_its_port(storage: Path, number: signal.Signals) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*HCL, "ui", "--port", str(port), "--storage", str(storage)]
    before = signal.signal(number, signal.SIG_DFL)  # tests under nohup would pass on SIG_IGN
    ui = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    signal.signal(number, before)
    until(lambda: not is_free(port), 120)
    ui.send_signal(number)
    assert ui.wait(timeout=30) == 0
    until(lambda: is_free(port), 5)


def is_free(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


# --- what stays behind, and what is shown ------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rays_folder_is_private_and_removed_and_its_lines_are_not_shown(
    files: Path, undisturbed: Path, tmp_path: Path, temporary: Path
) -> None:
    home, storage = tmp_path / "home", tmp_path / "storage"
    home.mkdir()
    environment: dict[str, Any] = {"HOME": str(home), "TMPDIR": str(temporary)}
    sweep = start(files, storage, **environment)
    wait_for(lambda: rows_of(storage, 0) >= 1)
    (folder,) = ray_folders(temporary)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and (folder / "ray").is_dir()
    token = home / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600

    # A driver that is killed leaves its folder behind, and the next start removes it.
    worker = Path(f"/proc/{trainer_of(storage, 0)}")
    sweep.kill()
    sweep.communicate()
    assert folder.exists()
    wait_for(lambda: not worker.exists())  # it outlives its driver for a moment
    sweep = start(files, storage, **environment)
    wait_for(lambda: rows_of(storage, 0) >= 2)
    assert not folder.exists()

    os.kill(trainer_of(storage, 1), signal.SIGKILL)
    out, err = sweep.communicate(timeout=300)
    assert sweep.returncode == 0 and err == ""
    assert ray_folders(temporary) == []
    assert "trial 1: its process died; it goes on from its last checkpoint" in out.splitlines()
    assert "raylet" not in out and "\x1b" not in out
    check_whole(storage)
    check_same(storage, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_rays_folder_is_removed_after_ctrl_c(few: Path, temporary: Path) -> None:
    sweep = start(few, few / "storage", TMPDIR=str(temporary))
    wait_for(lambda: rows_of(few / "storage", 0) >= 1)
    assert len(ray_folders(temporary)) == 1
    os.killpg(sweep.pid, signal.SIGINT)
    finish(sweep, status=130)
    assert ray_folders(temporary) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_of_a_killed_driver_runs_on(files: Path, tmp_path: Path) -> None:
    sweep = start(files, tmp_path)
    wait_for(lambda: rows_of(tmp_path, 0) >= 1)
    begun = descendants(sweep.pid)
    # Ray's two agents, which do nothing, try for a minute to tell the driver of the others' end.
    agents = {pid for pid in begun if b"Agent" in Path(f"/proc/{pid}/cmdline").read_bytes()}
    assert len(begun) >= 5 and len(agents) == 2
    sweep.kill()
    sweep.communicate()
    wait_for(lambda: not any(is_alive(pid) for pid in begun if pid not in agents), 30)
    wait_for(lambda: not any(map(is_alive, agents)), 120)


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in map(int, children) for one in (child, *descendants(child))]
