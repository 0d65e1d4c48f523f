"""A watch over Ray while trials run: notices within half a minute that Ray itself is gone.

Ray's own ways leave a person waiting. With its node process dead, Ray Tune's loop goes round for
ever and no trial moves. With its head process dead, the driver hangs inside a C++ call for 60 s,
and then ends the whole process in the middle of whatever it does. A thread of this process is
still scheduled in both cases, so the thread also closes the sweep. While Ray starts, it waits 30
to 60 s for a process that has died, and then shows a stack trace.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ray

EVERY = 3.0  # seconds between two looks
REFUSED = 3  # looks in a row that find nobody listening: the process is dead
SILENT = 25.0  # seconds without an answer: it is frozen, or unreachable
HEAD, NODE = "Ray's head process", "Ray's node process"
PROGRAMS = {"gcs_server": HEAD, "raylet": NODE}
LOST = 3  # exit status

OnLost = Callable[[str], None]


class Watchdog:
    """Calls `on_lost`, once and in a thread of its own, when Ray can no longer run trials.

    It watches the head process (GCS), and the node process (raylet) that this driver belongs to.
    Other nodes may come and go: Ray starts their trials elsewhere.

    Args:
        on_lost: gets what was lost and how ("Ray's node process died"); it must end the process,
            for Ray is of no more use in it.
    """

    def __init__(self, on_lost: OnLost) -> None:
        self._on_lost = on_lost
        self._over = threading.Event()
        self._answered = time.monotonic()
        self._ports = _ports()
        self._dead_before = _dead_children()

    def __enter__(self) -> "Watchdog":
        for target in (self._look, self._ask):
            threading.Thread(target=target, name="hcl-watchdog", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    def _ask(self) -> None:
        """Ask the head for its nodes again and again; a frozen one leaves this thread hanging."""
        while not self._over.wait(EVERY):
            ray.nodes()
            self._answered = time.monotonic()

    def _look(self) -> None:
        refused = dict.fromkeys(self._ports, 0)
        while not self._over.wait(EVERY):
            if name := _died_since(self._dead_before):  # without waiting for three refusals
                return self._lost(f"{name} died")
            for name, address in self._ports.items():
                refused[name] = 0 if _is_open(address) else refused[name] + 1
            dead = [name for name, times in refused.items() if times >= REFUSED]
            if dead:
                return self._lost(f"{dead[0]} died")
            if time.monotonic() - self._answered > SILENT:
                return self._lost(f"{HEAD} has not answered for {SILENT:.0f} s")
        return None

    def _lost(self, what: str) -> None:
        if not self._over.is_set():
            self._over.set()
            self._on_lost(what)


@contextmanager
def watched_start(on_lost: OnLost) -> Iterator[None]:
    """Watch the processes that `ray.init` starts, until it returns; see Watchdog.

    An error of `ray.init` is a loss as well.
    """
    over, dead_before = threading.Event(), _dead_children()

    def look() -> None:
        while not over.wait(1.0):
            name = _died_since(dead_before)
            if name and not over.is_set():
                return on_lost(f"{name} died while Ray started")
        return None

    threading.Thread(target=look, name="hcl-watched-start", daemon=True).start()
    try:
        yield
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        on_lost(f"Ray did not start ({why})")
        raise
    finally:
        over.set()


def _died_since(before: set[int]) -> str:
    """Name a process of Ray that this process has started and that has died; empty if none has.

    Args:
        before: processes that were dead already, of an earlier Ray.
    """
    dead = _dead_children() - before
    programs = {program for pid, program, _ in _children(os.getpid()) if pid in dead}
    return next((name for program, name in PROGRAMS.items() if program in programs), "")


def _dead_children() -> set[int]:
    return {pid for pid, _, is_alive in _children(os.getpid()) if not is_alive}


def end_process(what: str, close: Callable[[], object] = lambda: None) -> None:
    """End this process once Ray is lost, which in it can neither be stopped nor started again.

    Args:
        what: what was lost, and how.
        close: closes runs and displays, in half a minute at most: then Ray's own code may end
            the process, if its head is dead.
    """
    _kill_workers()  # a live one would deliver to its run after it was closed
    with suppress(Exception):  # whatever it is: the next start closes what is left open
        close()
    print(f"hcl: {what}; nothing is lost, go on with the same command", file=sys.stderr)
    with suppress(OSError, ValueError):  # a closed stdout
        sys.stdout.flush()
    os._exit(LOST)  # not sys.exit: this is a thread, and Ray's clean-up would hang


def _kill_workers() -> None:
    """Kill the node process that this driver has started, and its workers.

    Those of a dead one have lost their parent, and train on for seconds. Each of them has its
    number in the environment that it began with.
    """
    raylets = [pid for pid, name, _ in _children(os.getpid()) if name == "raylet"]
    marks = {f"RAY_RAYLET_PID={pid}".encode() for pid in raylets}
    workers = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended since, or is another user's
            if marks & set(path.read_bytes().split(b"\0")):
                workers.append(int(path.parent.name))
    for pid in (*raylets, *workers):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _children(parent: int) -> list[tuple[int, str, bool]]:
    """List a process' children: number, program, whether it is alive. Empty without a /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended since
            pid, _, rest = stat.read_text().partition(" (")
            program, _, fields = rest.rpartition(") ")
            state, above = fields.split()[:2]
            if int(above) == parent:
                found.append((int(pid), program, state != "Z"))
    return found


def _ports() -> dict[str, tuple[str, int]]:
    """Where the processes to watch listen: HEAD first, which explains the other's silence."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    mine = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    return {
        HEAD: (host.strip("[]"), int(port)),
        NODE: (mine["NodeManagerAddress"], mine["NodeManagerPort"]),
    }


def _is_open(address: tuple[str, int]) -> bool:
    """Say if somebody listens. A frozen process does: the kernel answers for it."""
    try:
        socket.create_connection(address, timeout=EVERY).close()
    except OSError:
        return False
    return True
