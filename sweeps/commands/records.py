"""`hcl report`, `hcl export`, `hcl sync` and `hcl ui`: show or deliver what was recorded."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from hcl.config import ConfigError
from sweeps.commands.options import (
    STORAGE,
    Storage,
    SweepName,
    TrackingUri,
    find_store,
    say,
)
from sweeps.records.folder import SweepFolder

PATIENCE = 10.0  # seconds for MLflow's server to end in order


def report(
    sweep: SweepName,
    form: Annotated[
        str, typer.Option("--format", help="markdown, latex, csv or terminal.")
    ] = "terminal",
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
) -> None:
    """Tables of a sweep: its best configurations, and the methods as mean ± SEM over seeds.

    \b
    Examples:
      hcl report split_digits-hnet
      hcl report split_digits-hnet --format latex > table.tex
    """
    from sweeps.reports.report import report as tables

    say(tables(sweep, find_store(SweepFolder(storage, sweep), tracking_uri), form))


def export(
    run: Annotated[
        str,
        typer.Argument(
            help="Id of an MLflow run, SWEEP/0003/seed_1 as MLflow shows it, or a folder.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("learner.safetensors"),
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write the trained learner of a run into one file: safetensors, no pickle.

    In Python `hcl.load(FILE)` gives it back, to predict, to go on learning, to take networks out.

    \b
    Examples:
      hcl export split_digits-hnet/0003/seed_1 --out digits.safetensors
      hcl export 0b1f0d4a9c6d4f1f8a2f3f9f0a1b2c3d
    """
    from sweeps.tracking.learners.find import find_learner

    learner = find_learner(run, storage, tracking_uri)
    try:
        learner.save(out)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from None
    name, size = learner.config.method_name, out.stat().st_size
    say(f"{out}: {name}, {len(learner.tasks)} tasks, {size / 1e6:.2f} MB")


def sync(
    sweep: Annotated[
        str | None, typer.Argument(show_default="every sweep", help="Name of the sweep.")
    ] = None,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
) -> None:
    """Send to MLflow what it did not take yet, e.g. after its server was down.

    Nothing is sent twice. With --tracking-uri a finished sweep can be copied to another server.

    \b
    Examples:
      hcl sync
      hcl sync split_digits-hnet --tracking-uri http://mlflow:5000

    \b
    Exit status: 0 MLflow has everything, 1 something is still missing.
    """
    from sweeps.tracking.sync import sync_sweep

    root = SweepFolder(storage, "any").storage / "sweeps"
    names = [sweep] if sweep else sorted(path.name for path in root.glob("*") if path.is_dir())
    missing = 0
    for name in names:
        folder = SweepFolder(storage, name)
        if not folder.path.is_dir():
            raise ConfigError(f"there is no sweep {name!r} in {folder.storage}")
        sent, failed = sync_sweep(folder, find_store(folder, tracking_uri))
        missing += failed
        say(f"{name}: MLflow has {sent} of {sent + failed} runs")
    if not names:
        raise ConfigError(f"--storage {storage}: there is no sweep in {root}")
    raise typer.Exit(1 if missing else 0)


def ui(
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 5000,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
) -> None:
    """Open the MLflow UI on the recorded runs, for this machine alone (127.0.0.1).

    Select runs of a sweep and press Compare; their accuracy matrices stand side by side under
    the picture accuracy_matrix.

    \b
    Examples:
      hcl ui
      hcl ui --port 5001 --storage /shared/hcl
    """
    from sweeps.tracking import Store, local_store
    from sweeps.tracking.database import check_store

    folder = SweepFolder(storage, "any").storage
    store = Store(tracking_uri, None, "any") if tracking_uri else local_store(folder, "any")
    if store.tracking_uri.startswith("http"):
        say(f"the runs are on a server of their own: {store.shown_uri}")
        return
    if tracking_uri is None and not (folder / "mlflow.db").exists():
        raise ConfigError(f"no run has been recorded in {folder}; give its --storage, or sweep")
    check_store(store)
    _check_port(port)
    say(f"MLflow UI: http://127.0.0.1:{port}    (Ctrl-C ends it)")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--default-artifact-root", str(folder / "artifacts")]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store.tracking_uri,  # not an argument: it may hold a password
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    raise typer.Exit(_serve(command, environment))


def _check_port(port: int) -> None:
    """Refuse a port in use; MLflow itself would end with status 0 and no message."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ConfigError(f"--port {port}: {error.strerror}; choose another --port") from None


def _serve(command: list[str], environment: dict[str, str]) -> int:
    """Run the server until it ends or a signal ends it, with all of its processes."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    # In a group of its own, which can be ended as a whole: workers outlive their parent.
    process = subprocess.Popen(command, env=environment, process_group=0)
    try:
        return process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        return 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
