"""Results of a sweep on its own MLflow run: a note, mean metrics, the page.

They are made of the journals and kept in the sweep's folder: an outage of MLflow loses none, and
`hcl sync` sends them later.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

from hcl.config import ConfigError
from hcl.storage.files import write_atomically
from sweeps.records.entries import journal_rows, recorded_settings, rows_frame
from sweeps.records.folder import SweepFolder, git_tags
from sweeps.reports.page import sweep_page
from sweeps.reports.stopping import read_early_ranks, stopping_tables
from sweeps.reports.sweep_tables import best_runs, sweep_tables
from sweeps.tracking import Store, is_made, prepare, start_sweep
from sweeps.tracking.sweep_run import close_sweep, first_note
from sweeps.tracking.views import run_urls

log = logging.getLogger(__name__)

HEADLINES = ("average_accuracy", "learning_accuracy", "forgetting", "backward_transfer",
             "average_mse", "learning_mse")  # fmt: skip


def summarise(folder: SweepFolder, store: Store, metrics: dict[str, float] | None = None) -> None:
    """Write what `close_sweep` sends; whatever goes wrong is logged and stops nothing.

    Args:
        folder: the sweep's.
        store: MLflow's, for links to its runs.
        metrics: further metrics of the sweep's run.
    """
    metrics = metrics or {}
    try:
        frame, settings = rows_frame(journal_rows(folder)), recorded_settings(folder)
        tables = sweep_tables(frame, settings)
        tables += stopping_tables(read_early_ranks(folder, settings))
        note = "\n\n".join([first_note(settings), *(table.markdown() for table in tables)])
        means, known = _means(best_runs(frame, settings)), folder.read_info().get("metrics", {})
        metrics = {**means, **known, **means, **metrics}  # the means come first
        folder.write_info(metrics=metrics, note=note)
        write_page(folder, store)
    except Exception as error:
        log.warning("the summary of %s cannot be written: %s", folder.name, error)
        folder.write_info(metrics=metrics)


def write_page(folder: SweepFolder, store: Store, path: Path | None = None) -> Path:
    """Write the page of a sweep, by default into its folder, and return its path."""
    path = path or folder.page
    urls = run_urls(store, folder.name) if is_made(store) else {}
    write_atomically(path, sweep_page(folder, urls))
    return path


def _means(runs: pd.DataFrame) -> dict[str, float]:
    """Average the headline metrics of one configuration over its seeds."""
    names = [str(name) for name in runs if str(name).startswith(("test/", "val/"))]
    headlines = [name for name in names if name.rpartition("/")[2] in HEADLINES]
    means = {name: float(runs[name].mean()) for name in headlines}
    return {name: mean for name, mean in means.items() if mean == mean}


@contextmanager
def parent_run(folder: SweepFolder, store: Store, command: str) -> Iterator[str]:
    """Be the MLflow run that trainings without a search belong to; it ends as they do.

    Args:
        folder: where they are recorded.
        store: MLflow's.
        command: how a person started them.

    Yields:
        The run's id.

    Raises:
        ConfigError: the store cannot be used.
    """
    prepare(store)
    git = git_tags()
    tags = folder.read_info().get("tags", {})
    run_id = start_sweep(store, folder.name, {}, {**git, **tags, "command": command})
    folder.write_info(**git, parent_run_id=run_id, command=command, status="RUNNING")
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        with suppress(OSError):  # a full disk has its own error
            folder.write_info(status=status)
            summarise(folder, store)
        with suppress(ConfigError):  # during an outage; `hcl sync` closes it later
            close_sweep(folder, store, run_id)
