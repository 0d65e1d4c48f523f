"""The connection to Ray: started here or joined at an address, and what it has to offer."""

import logging
import signal
import socket
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import ray
from ray._private import utils as ray_utils
from ray._private import worker
from rich.console import Console

from hcl.config import ConfigError
from sweeps.cluster.local_ray import (
    asked_often,
    deaf_to_hangup,
    lean,
    loopback,
    make_token,
    plain_workers,
    private_folder,
    replaced,
)
from sweeps.cluster.resources import check_fits, trials_that_fit
from sweeps.cluster.shipping import check_option, shipped
from sweeps.cluster.watchdog import OnLost, Watchdog, end_process, watched_start
from sweeps.records.redact import redact, redact_command, redact_url
from sweeps.space.settings import SweepSettings


@contextmanager
def cluster(address: str | None, settings: SweepSettings, on_lost: OnLost) -> Iterator[int]:
    """Connect to Ray, or start it on this machine alone; yield the number of trials at a time.

    A Ray that already runs in this process is used and left running.

    Args:
        address: address of the cluster; None = this machine.
        settings: resources of a trial, and how many trials at a time.
        on_lost: ends this process when Ray is lost, see Watchdog.

    Raises:
        ConfigError: no answer at the address, or no room for a single trial.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a user reads our own messages
    with ExitStack() as ours:
        if not ray.is_initialized():
            ours.enter_context(started(address, on_lost=on_lost))
        ours.enter_context(Watchdog(on_lost))
        yield _trials_at_a_time(ray.cluster_resources(), settings, is_fixed=address is None)


def announce(address: str | None, console: Console) -> None:
    """Say that Ray is about to start on this machine, if so: that takes seconds."""
    if address is None and not ray.is_initialized():
        console.print("starting Ray")


@contextmanager
def connected(address: str | None, ship_code: bool = False) -> Iterator[None]:
    """Hold the connection to the cluster at `address` while a sweep prepares and runs.

    A wrong address is thus reported before anything is made. Without an address nothing happens:
    `cluster` starts Ray on this machine later, once there are trials to run.

    Args:
        address: address of the cluster; None = this machine.
        ship_code: send this code to its workers (see `sweeps.cluster.shipping`).

    Raises:
        ConfigError: no answer there.
    """
    check_option(ship_code, address)
    if address is None or ray.is_initialized():
        yield
        return
    with ExitStack() as ours:
        with shipped() if ship_code else nullcontext() as environment:
            ours.enter_context(started(address, environment))
        yield


@contextmanager
def started(
    address: str | None,
    environment: dict[str, Any] | None = None,
    on_lost: OnLost = end_process,
) -> Iterator[None]:
    """Connect this process to the cluster at `address`, or start Ray on this machine alone.

    Args:
        address: address of the cluster; None = this machine.
        environment: Ray's runtime environment for the workers of a cluster.
        on_lost: ends this process when Ray does not start on this machine, see Watchdog.

    Raises:
        ConfigError: no answer at the address, or no token for the cluster there.
    """
    # Ray would print a coloured line of 1,000 characters for each worker that dies, and the end
    # of a log for each node. `sweeps.cluster.progress` tells of them in a sentence.
    worker._worker_logs_enabled = False
    with ExitStack() as ours:
        folder = ours.enter_context(private_folder()) if address is None else None
        ours.callback(ray.shutdown)  # before the folder goes
        if address is None:
            ours.enter_context(plain_workers())
            make_token()
            with loopback(), deaf_to_hangup(), lean(), asked_often(), watched_start(on_lost):
                _init("local", include_dashboard=False, _node_ip_address="127.0.0.1",
                      _temp_dir=str(folder))  # fmt: skip
        else:
            _join(address, environment)
        yield


def _join(address: str, environment: dict[str, Any] | None) -> None:
    try:
        check_port_open(address)
        _init(address, runtime_env=environment)
    except ray.exceptions.AuthenticationError:
        raise ConfigError(
            f"the Ray cluster at --address {redact_url(address)} wants a token and none was found;"
            " copy the head's ~/.ray/auth_token to this machine, or name such a file in"
            " RAY_AUTH_TOKEN_PATH"
        ) from None
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        why = textwrap.shorten(redact(why, address), 200, placeholder=" ...")
        raise ConfigError(
            f"no Ray cluster answers at --address {redact_url(address)} ({why}); start one with"
            " `ray start --head`, or leave --address out to use this machine"
        ) from None


def _init(address: str, **options: Any) -> None:
    with ExitStack() as ours:
        # Ray keeps the command of its driver and shows it to everyone who may see the dashboard.
        ours.enter_context(
            replaced(ray_utils, "get_entrypoint_name", lambda: redact_command(sys.argv))
        )
        listener = signal.getsignal(signal.SIGTERM)
        if listener != signal.SIG_DFL:
            # Ray would take SIGTERM for itself, and end a sweep that starts without closing it.
            ours.enter_context(replaced(ray_utils, "set_sigterm_handler", lambda handler: None))
            # Its C++ part does so too, unseen by Python: it prints a stack and, where stopping
            # takes more than three seconds, aborts the process.
            if threading.current_thread() is threading.main_thread():
                ours.callback(signal.signal, signal.SIGTERM, listener)
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **options)


def check_port_open(address: str) -> None:
    """Fail in seconds where nobody listens; `ray.init` alone would try for minutes.

    `auto` and URLs pass: Ray finds those by itself.

    Raises:
        OSError: nobody answers at HOST:PORT.
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _trials_at_a_time(available: dict[str, float], settings: SweepSettings, is_fixed: bool) -> int:
    """Return how many trials to run at a time: as asked for, or as fit into the cluster now.

    It is always a number: with None, Ray asks an autoscaling cluster for one trial at a time.
    """
    if is_fixed:
        check_fits(available, settings)
    return settings.max_concurrent_trials or max(1, trials_that_fit(available, settings))
