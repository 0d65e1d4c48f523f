"""Ray on this machine alone: its folder, its token and its processes, for this user only.

Ray by itself keeps its sockets, logs and objects under /tmp/ray, for every user to write to, and
never removes them.
"""

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from ray._private import ray_constants, services
from ray._private.node import Node
from ray._private.state import GlobalState
from ray.tune.execution import class_cache

from hcl.config import ConfigError
from hcl.storage.files import LockHeldError, locked

PREFIX = "hcl-ray-"
START_TIME = 10.0  # seconds, within which Ray asks for its node in short steps
LONGEST = 24  # characters of the folder above; with Ray's part, a socket's name may have 107
TOKEN = Path("~/.ray/auth_token")


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder for a Ray of this process, and remove it in the end.

    Also remove those of processes that were killed: nobody holds their lock.
    """
    above = tempfile.gettempdir() if len(tempfile.gettempdir()) <= LONGEST else "/tmp"
    for left in Path(above).glob(f"{PREFIX}*"):
        _remove_abandoned(left)
    # Ray opens its own folder to everybody, so that it gets one in this.
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=above))
    try:
        with locked(folder / ".lock", timeout=0):
            yield folder / "ray"
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder; what a dying process of its Ray writes meanwhile is removed too.

    If that goes on, the folder stays with its lock, by which a later start knows it.
    """
    for _ in range(5):
        shutil.rmtree(folder / "ray", ignore_errors=True)
        if not (folder / "ray").exists():
            shutil.rmtree(folder, ignore_errors=True)
            return
        time.sleep(0.2)


def _remove_abandoned(folder: Path) -> None:
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return
    with suppress(LockHeldError, OSError), ExitStack() as held:
        if (folder / ".lock").exists():  # otherwise it is being made
            held.enter_context(locked(folder / ".lock", timeout=0))
            _remove(folder)


def make_token() -> None:
    """Make the token that Ray's processes show each other; Ray itself lets everybody read it.

    Raises:
        ConfigError: it cannot be written.
    """
    path = TOKEN.expanduser()
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return
    if os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            descriptor, draft = tempfile.mkstemp(dir=path.parent)  # of mode 600
            with open(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
            with suppress(FileExistsError):  # another sweep was faster
                os.link(draft, path)
            os.unlink(draft)
        elif path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise ConfigError(
            f"Ray's token {path} cannot be written ({error.strerror}); put one elsewhere and name"
            " that file in RAY_AUTH_TOKEN_PATH"
        ) from None


@contextmanager
def loopback() -> Iterator[None]:
    """Let a node have the address 127.0.0.1, so that no other machine reaches it.

    Ray replaces that address by one that others can reach, and then listens to all of them,
    except where this constant is off, as it is on macOS.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def lean() -> Iterator[None]:
    """Start no process that a sweep on one machine has no use for: 1.4 s and 250 MB less.

    They serve the dashboard, scale a cluster, and send the workers' logs to the driver.
    """
    names = ("start_api_server", "start_monitor", "start_log_monitor")
    with ExitStack() as ours:
        for name in names:
            ours.enter_context(replaced(Node, name, lambda *args, **options: None))
        yield


@contextmanager
def plain_workers() -> Iterator[None]:
    """Let Ray Tune start a trial's worker at once: 0.3 s less.

    It gives each an environment of its own, which another process must prepare first. On one
    machine workers inherit all of it from this process.
    """
    with (
        replaced(class_cache, "DEFAULT_ENV_VARS", {}),
        replaced(class_cache, "ENV_VARS_TO_PROPAGATE", ()),
    ):
        yield


@contextmanager
def asked_often() -> Iterator[None]:
    """Go on as soon as Ray's node is there: half a second less.

    Ray asks once before it can be there, and then sleeps for a whole second.
    """
    get_node = services.get_node

    def wait_for_node(address: str, node_id: str) -> dict[str, Any]:
        state, deadline = GlobalState(), time.monotonic() + START_TIME
        state._initialize_global_state(services._get_gcs_client_options(address))
        while time.monotonic() < deadline:
            if any(node["NodeID"] == node_id for node in state.node_table()):
                break
            time.sleep(0.02)
        return get_node(address, node_id)

    with replaced(services, "get_node", wait_for_node):
        yield


@contextmanager
def replaced(owner: ModuleType | type, name: str, value: Any) -> Iterator[None]:
    """Give a name of a module or a class another value for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def deaf_to_hangup() -> Iterator[None]:
    """Start processes that a closed terminal does not end, before their driver stops in order.

    They inherit that SIGHUP is blocked, as Ray itself does it with Ctrl-C.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
