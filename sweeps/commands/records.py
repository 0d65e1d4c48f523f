"""`hcl report`, `hcl export`, `hcl sync` and `hcl ui`: show or deliver what was recorded."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from hcl.config import ConfigError
from sweeps.commands.options import (
    STORAGE,
    Json,
    Storage,
    SweepName,
    TrackingUri,
    find_store,
    say,
)
from sweeps.records.folder import SweepFolder

if TYPE_CHECKING:
    from sweeps.tracking.views import Links

SHOWN = 10  # sweeps whose links are printed
PATIENCE = 10.0  # seconds for MLflow's server to end cleanly


def report(
    sweep: SweepName,
    form: Annotated[
        str, typer.Option("--format", help="markdown, latex, csv, json or terminal.")
    ] = "terminal",
    as_json: Json = False,
    html: Annotated[bool, typer.Option("--html", help="Write the page instead.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(show_default="report.html in the sweep's folder", help="File of the page."),
    ] = None,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show a sweep's tables: its best configurations, and methods as mean ± SEM over seeds.

    --html writes one page instead, which opens without a server or a network: accuracy matrices
    of all runs, the difference of any two, curves, the search, each number's run and command.

    \b
    Examples:
      hcl report split_digits-hnet
      hcl report split_digits-hnet --html --out digits.html
      hcl report split_digits-hnet --format latex > table.tex
      hcl report split_digits-hnet --json | jq '.[0].rows[0]'
    """
    if html or out is not None:
        return _write_page(SweepFolder(storage, sweep), out, tracking_uri)
    form = "json" if as_json else form
    folder = SweepFolder(storage, sweep)
    if tracking_uri is None and folder.journals():
        return say(_read_journals(folder, form))
    from sweeps.reports.report import report as read

    return say(read(sweep, find_store(folder, tracking_uri), form))


def _read_journals(folder: SweepFolder, form: str) -> str:
    """Write the tables from the sweep's own records: MLflow has the same, seconds later."""
    from sweeps.records.entries import read_recorded
    from sweeps.reports.stopping import find_early_ranks, stopping_tables
    from sweeps.reports.sweep_tables import written_tables

    found = read_recorded([folder])
    more = stopping_tables(find_early_ranks(found))
    return written_tables(folder.name, found.frame, found.settings, form, more)


def _write_page(folder: SweepFolder, out: Path | None, tracking_uri: str | None) -> None:
    if not folder.journals():
        raise ConfigError(
            f"there are no records of a sweep {folder.name!r} in {folder.storage}; the page is"
            " made from them: give the sweep's --storage"
        )
    from sweeps.reports.summary import read_results, write_page

    path = None if out is None else out.expanduser().absolute()
    try:
        say(f"page: {write_page(read_results(folder), find_store(folder, tracking_uri), path)}")
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from None


def export(
    run: Annotated[
        str,
        typer.Argument(
            help="A sweep (its best), SWEEP/0003/seed_1, the id of an MLflow run, or a folder.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("learner.safetensors"),
    model: Annotated[
        Path | None, typer.Option(help="Folder to write a model into, which MLflow serves.")
    ] = None,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write the trained learner of a run into one file: safetensors, no pickle.

    In Python `hcl.load(FILE)` gives it back: to predict, learn further tasks, export networks.

    \b
    Examples:
      hcl export split_digits-hnet --out digits.safetensors
      hcl export split_digits-hnet/0003/seed_1 --model served
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
    if model is not None:
        from sweeps.tracking.learners.model import write_model

        if model.is_file() or (model.is_dir() and any(model.iterdir())):
            raise ConfigError(f"--model {model}: there is something already; name a new folder")
        write_model(learner, model)
        say(f"{model}: mlflow models serve --env-manager local --port 5001 -m {model}")


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
    sweep: Annotated[
        str | None, typer.Argument(show_default="every sweep", help="Name of the sweep.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 5000,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
) -> None:
    """Open the MLflow UI on the recorded runs, only on this machine (127.0.0.1).

    A link for each sweep opens its runs, best first; of one sweep, another link shows the accuracy
    matrices of its best runs. `hcl report SWEEP --html` has all matrices, and needs no server.

    \b
    Examples:
      hcl ui
      hcl ui split_digits-hnet
      hcl ui --port 5001 --storage /shared/hcl
    """
    from sweeps.tracking.database import check_store
    from sweeps.tracking.views import links

    folder = SweepFolder(storage, sweep or "any")
    store = find_store(folder, tracking_uri)
    if store.is_http:
        say(f"the runs are on a server of their own: {store.shown_uri}")
        _show_links(links(store, store.shown_uri.rstrip("/"), sweep), sweep)
        return
    if store.sqlite_file is not None and not store.sqlite_file.exists():
        raise ConfigError(
            f"no run has been recorded in {storage}; give another --storage, or run a sweep first"
        )
    check_store(store)
    _check_port(port)
    uri = f"http://127.0.0.1:{port}"
    found = links(store, uri, sweep)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning"]
    command += ["--default-artifact-root", str(folder.storage / "artifacts")]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store.tracking_uri,  # not an argument: it may hold a password
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }

    def ready() -> None:
        say(f"MLflow UI: {uri}    (Ctrl-C ends it)")
        _show_links(found, sweep)

    raise typer.Exit(_serve(command, environment, port, ready))


def _show_links(found: "list[Links]", sweep: str | None) -> None:
    for one in found[:SHOWN]:
        say(f"{one.name}: {one.ranking}")
        if sweep is not None:
            say(f"{one.name}, accuracy matrices: {one.matrices}")
    if len(found) > SHOWN:
        say(f"and {len(found) - SHOWN} older ones; hcl ui NAME shows one")


def _check_port(port: int) -> None:
    """Refuse a port in use; MLflow itself would end with status 0 and no message."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ConfigError(f"--port {port}: {error.strerror}; choose another --port") from None


def _serve(
    command: list[str], environment: dict[str, str], port: int, ready: Callable[[], None]
) -> int:
    """Run the server until it ends or a signal ends it, with all of its processes.

    Args:
        command: starts it.
        environment: its environment.
        port: where it listens.
        ready: called once it answers.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryFile("w+") as log:
        status = _wait(command, environment, log, lambda: _answers(port), ready)
        if status:
            log.seek(0)
            say(log.read().rstrip(), stderr=True)
    return status


def _wait(
    command: list[str],
    environment: dict[str, str],
    log: IO[str],
    answers: Callable[[], bool],
    ready: Callable[[], None],
) -> int:
    # In a group of its own, which can be ended as a whole: workers outlive their parent.
    process = subprocess.Popen(
        command, env=environment, process_group=0, stdout=subprocess.DEVNULL, stderr=log
    )
    try:
        while process.poll() is None and not answers():
            time.sleep(0.2)
        if process.poll() is None:
            ready()
        return process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        return 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _answers(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False
