"""Ray as this project uses it: its environment, its start, and what it has to offer."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hcl.config import ConfigError
from sweeps.cluster.resources import check_fits, trials_that_fit
from sweeps.cluster.shipping import check_option, shipped
from sweeps.space.settings import SweepSettings

ENVIRONMENT = {
    # Half-default since Ray 2.59: a driver with an address must be told what the cluster uses.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # sweeps.launch.run_sweep has its own
    # Ray writes all its trials to disk again and again, to restore what we resume from the study.
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    "RAY_AIR_NEW_OUTPUT": "0",  # its banner comes even with verbose=0
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Else every worker of `uv run hcl sweep` builds the environment anew.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Workers of which no trial is run: Tune gives its own an environment.
    "RAY_prestart_worker_first_driver": "0",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def set_environment() -> None:
    """Before Ray is imported; what the user has set stays."""
    for name, value in ENVIRONMENT.items():
        # Ray reads its mode when imported. Set later, half of Ray believes it and the other half
        # does not; `ray.init` of a local cluster then turns tokens on by itself.
        if name != "RAY_AUTH_MODE" or "ray" not in sys.modules:
            os.environ.setdefault(name, value)


@contextmanager
def cluster(address: str | None, sweep: SweepSettings) -> Iterator[int]:
    """Connect to Ray, or start it on this machine alone; gives the number of trials at a time.

    A Ray that runs already in this process is used and left running.

    Raises:
        ConfigError: no answer at the address, or no place for a single trial.
    """
    set_environment()
    import ray

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # we say what a user needs to know
    mine = not ray.is_initialized()
    if mine:
        start(address)
    try:
        yield _trials_at_a_time(ray.cluster_resources(), sweep, is_fixed=address is None)
    finally:
        if mine:
            ray.shutdown()


@contextmanager
def connected(address: str | None, ship_code: bool = False) -> Iterator[None]:
    """Hold the connection to the cluster at `address`, for a sweep to find; None = not yet.

    Args:
        address: of the cluster.
        ship_code: send this code to its workers (see `sweeps.cluster.shipping`).

    Raises:
        ConfigError: no answer there, told before anything is made.
    """
    check_option(ship_code, address)
    if address is None:
        yield
        return
    set_environment()
    import ray

    if ray.is_initialized():
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
        address: of the cluster.
        environment: Ray's runtime environment for the workers of a cluster.

    Raises:
        ConfigError: no answer at the address, or no token for the cluster there.
    """
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:
        with _loopback():
            ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
        return
    try:
        _knock(address)
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
    """Let a node have the address 127.0.0.1.

    Ray replaces it by one that others can reach and then listens to all of them, except where
    this constant is off, as it is on macOS.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _knock(address: str) -> None:
    """Fail in seconds where nobody listens; `ray.init` alone tries for minutes.

    Raises:
        OSError: nobody answers at HOST:PORT. (`auto` and URLs are Ray's to find.)
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _trials_at_a_time(available: dict[str, float], sweep: SweepSettings, is_fixed: bool) -> int:
    """As many as asked for, or as fit into what the cluster has now."""
    if is_fixed:
        check_fits(available, sweep)
    fit = trials_that_fit(available, sweep)
    # Set in any case: without it Ray asks an autoscaling cluster for one trial at a time.
    return sweep.max_concurrent_trials or max(1, fit)
