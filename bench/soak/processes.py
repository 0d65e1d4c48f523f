"""The processes of a soak: found by a mark in their environment, which children inherit."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

MARK = "HCL_SOAK"


def marked(mark: str, but_session: int = 0) -> list[int]:
    """List the living processes with this mark, without this one and those of a session."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended since, or is another user's
            if wanted in (path / "environ").read_bytes().split(b"\0") and is_alive(int(path.name)):
                found.append(int(path.name))
    mine = {os.getpid()}
    return sorted(
        pid for pid in set(found) - mine if not but_session or session(pid) != but_session
    )


def is_alive(pid: int) -> bool:
    """Whether it runs, and is no zombie."""
    return _stat(pid)[0] != "Z"


def parent(pid: int) -> int:
    """Return the process that started it; 0 where it has ended."""
    return int(_stat(pid)[1])


def session(pid: int) -> int:
    """Return the session that it belongs to; 0 where it has ended."""
    return int(_stat(pid)[3])


def command(pid: int) -> str:
    """Return its program and arguments."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return ""


def resident_mb(pid: int) -> float:
    """Return its memory in MB, what it shares with others included; 0 where it has ended."""
    with suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def descriptors(pid: int) -> int:
    """Count its open files and sockets; 0 where it has ended."""
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def kill(pids: list[int]) -> None:
    """End them at once and wait until they are gone, at most ten seconds."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)


def _stat(pid: int) -> list[str]:
    """Return its state, parent, group, session, ...; those of a zombie where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return ["Z", "0", "0", "0"]
