"""Results of a sweep on its own MLflow run: a note, mean metrics, the page.

They are made of the journals and kept in the sweep's folder: an outage of MLflow loses none, and
`hcl sync` sends them later.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hcl.config import ConfigError
from hcl.storage.files import write_atomically
from sweeps.output.html_page import Head, html_page
from sweeps.output.metric_names import heading, is_fraction
from sweeps.output.table import Table
from sweeps.records.entries import Recorded, read_recorded
from sweeps.records.folder import SweepFolder, git_tags
from sweeps.reports.page import page_data
from sweeps.reports.runs import complete_runs, estimate
from sweeps.reports.stopping import (
    ENOUGH,
    TITLE,
    EarlyRank,
    find_early_ranks,
    stopping_tables,
)
from sweeps.reports.sweep_tables import best_runs, sweep_tables
from sweeps.tracking import Store, is_made, prepare, start_sweep
from sweeps.tracking.sweep_run import close_sweep, first_note
from sweeps.tracking.views import run_urls

log = logging.getLogger(__name__)

HEADLINES = ("average_accuracy", "learning_accuracy", "forgetting", "backward_transfer",
             "average_mse", "learning_mse")  # fmt: skip


@dataclass(frozen=True)
class SweepResults:
    """A sweep's records and what is made of them: its tables, its trials' early ranks."""

    folder: SweepFolder
    recorded: Recorded
    tables: list[Table]
    ranks: list[EarlyRank]


def read_results(folder: SweepFolder) -> SweepResults:
    """Read the records of a sweep."""
    recorded = read_recorded([folder])
    tables = sweep_tables(recorded.frame, recorded.settings)
    return SweepResults(folder, recorded, tables, find_early_ranks(recorded))


def summarise(folder: SweepFolder, store: Store, metrics: dict[str, float] | None = None) -> None:
    """Write what `close_sweep` sends; whatever goes wrong is logged and stops nothing.

    Args:
        folder: the sweep's.
        store: MLflow's, for links to its runs.
        metrics: further metrics of the sweep's run.
    """
    metrics = metrics or {}
    try:
        results = read_results(folder)
        frame, settings = results.recorded.frame, results.recorded.settings
        tables = [*results.tables, *stopping_tables(results.ranks)]
        note = "\n\n".join([first_note(settings), *(table.markdown() for table in tables)])
        means, known = _means(best_runs(frame, settings)), folder.read_info().get("metrics", {})
        metrics = {**means, **known, **means, **metrics}  # the means come first
        folder.write_info(metrics=metrics, note=note)
        write_page(results, store)
    except Exception as error:
        log.warning("the summary of %s cannot be written: %s", folder.name, error)
        folder.write_info(metrics=metrics)


def write_page(results: SweepResults, store: Store, path: Path | None = None) -> Path:
    """Write the page of a sweep, by default into its folder, and return its path."""
    path = path or results.folder.page
    urls = run_urls(store, results.folder.name) if is_made(store) else {}
    write_atomically(path, sweep_page(results, urls))
    return path


def sweep_page(results: SweepResults, urls: Mapping[str, str]) -> str:
    """Write the page of a sweep.

    Args:
        results: the sweep's.
        urls: run_key -> address of the run in the MLflow UI; may be empty.
    """
    is_search = results.folder.space_file.exists()  # else methods stand beside each other
    tables = results.tables if is_search else results.tables[::-1]
    tables = [*tables, *stopping_tables(results.ranks)]
    pictures = stopping_pictures(results.ranks)
    return html_page(_head(results), tables, pictures, page_data(results.recorded, urls))


def stopping_pictures(ranks: Sequence[EarlyRank]) -> dict[str, bytes]:
    """Draw tau against the number of tasks, a line for each method; none without ranks."""
    if not ranks:
        return {}
    from sweeps.output.plots import png
    from sweeps.output.rank_plots import early_ranks

    lines: dict[str, list[tuple[int, float, tuple[float, float] | None]]] = {}
    for rank in ranks:
        lines.setdefault(rank.method, []).append((rank.tasks, rank.tau, rank.interval))
    return {TITLE: png(early_ranks(lines, ENOUGH))}


def _head(results: SweepResults) -> Head:
    folder, frame, settings = results.folder, results.recorded.frame, results.recorded.settings
    info, runs = folder.read_info(), complete_runs(frame)
    commit = settings.get("git_commit", "")[:12]
    if settings.get("git_dirty") == "True":
        commit += ", with changes that were not committed"
    seeds = frame["seed"].nunique() if "seed" in frame else 0
    return Head(
        title=folder.name,
        kind="sweep" if folder.space_file.exists() else "trainings",
        lead=settings.get("description", ""),
        answer=_answer(best_runs(frame, settings), settings),
        facts={
            "runs": f"{len(runs)} finished of {len(frame)}, {seeds} seed{'s' * (seeds != 1)}",
            "method": _names(frame, "method/name"),
            "benchmark": _names(frame, "benchmark/name"),
            "scenario": _names(frame, "scenario"),
            "commit": commit,
            "started": str(info.get("created", "")),
            "written": time.strftime("%F %T%z"),
        },
        command=settings.get("command", ""),
    )


def _names(frame: pd.DataFrame, column: str) -> str:
    return ", ".join(dict.fromkeys(map(str, frame[column].dropna()))) if column in frame else ""


def _answer(best: pd.DataFrame, settings: dict[str, str]) -> tuple[str, str] | None:
    """Word the main result: test accuracy of the configuration that validation data chose."""
    if best.empty:
        return None
    name = f"test/{best['scenario'].iloc[0]}/average_accuracy"
    found = estimate(best, name) if name in best else None
    if found is None:
        return None
    unit = " %" if is_fraction(name) else ""
    error = "" if found.sem is None else f" ± {found.sem:.2f}"
    trial = best["tags.trial"].iloc[0] if "tags.trial" in best else ""
    chosen = settings.get("sweep/objective") or settings.get("objective")
    by = f", chosen by {heading(chosen).removesuffix(' (%)')}" if chosen else ""
    seeds = f"{found.n} seed{'s' if found.n > 1 else ''}"
    who = f"best of the sweep, trial {trial}{by}" if chosen else "the only configuration"
    return f"{found.mean:.2f}{error}{unit}", f"average test accuracy, {seeds}: {who}"


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
