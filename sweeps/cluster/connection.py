"""The connection to Ray: started here or joined at an address, and what it has to offer."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants

from hcl.config import ConfigError
from sweeps.cluster.resources import check_fits, trials_that_fit
from sweeps.cluster.shipping import check_option, shipped
from sweeps.space.settings import SweepSettings


@contextmanager
def cluster(address: str | None, settings: SweepSettings) -> Iterator[int]:
    """Connect to Ray, or start it on this machine alone; yield the number of trials at a time.

    A Ray that already runs in this process is used and left running.

    Raises:
        ConfigError: no answer at the address, or no room for a single trial.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a user reads our own messages
    is_ours = not ray.is_initialized()
    if is_ours:
        start(address)
    try:
        yield _trials_at_a_time(ray.cluster_resources(), settings, is_fixed=address is None)
    finally:
        if is_ours:
            ray.shutdown()


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
    if ship_code:
        with shipped() as environment:
            start(address, environment)
    else:
        start(address)
    try:
        yield
    finally:
        ray.shutdown()


def start(address: str | None, environment: dict[str, Any] | None = None) -> None:
    """Connect this process to the cluster at `address`, or start Ray on this machine alone.

    Args:
        address: address of the cluster; None = this machine.
        environment: Ray's runtime environment for the workers of a cluster.

    Raises:
        ConfigError: no answer at the address, or no token for the cluster there.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:
        with _loopback():
            ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
        return
    try:
        check_port_open(address)
        ray.init(address, runtime_env=environment or None, **quiet)
    except ray.exceptions.AuthenticationError:
        raise ConfigError(
            f"the Ray cluster at --address {address} wants a token and none was found; copy the"
            " head's ~/.ray/auth_token to this machine, or name such a file in RAY_AUTH_TOKEN_PATH"
        ) from None
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ConfigError(
            f"no Ray cluster answers at --address {address} ({why}); start one with"
            " `ray start --head`, or leave --address out to use this machine"
        ) from None


@contextmanager
def _loopback() -> Iterator[None]:
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
