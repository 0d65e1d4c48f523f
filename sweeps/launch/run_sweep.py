"""A sweep from start to end: check, resume, run the trials, finish.

Started again on the same folder it goes on: the study knows which trials are done and hands out
again those that were running; each trial finds its checkpoints and its MLflow runs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from rich.console import Console

from sweeps.cluster.connection import announce, cluster, connected
from sweeps.cluster.gpu_probe import resolve_gpus
from sweeps.cluster.progress import Counts, ProgressCallback, Size
from sweeps.cluster.tuner import Interrupt, ends_at, run_trials, stop_tune
from sweeps.cluster.watchdog import end_process
from sweeps.launch.finish import explain_error, finish, finish_without_space
from sweeps.launch.outcome import Outcome, trial_ends
from sweeps.launch.preflight import check_start
from sweeps.launch.request import SweepRequest
from sweeps.launch.resume import find_study_url, make_search, record_start
from sweeps.records.disk_full import is_full
from sweeps.records.folder import wait_for_writers
from sweeps.records.trial_ends import note_stop, seed_folders
from sweeps.study.scheduler import TaskBoundaryScheduler
from sweeps.study.searcher import OptunaSearch
from sweeps.study.study import check_same_search
from sweeps.tracking import deliver
from sweeps.workers.ray_function import ray_function
from sweeps.workers.trainable import TrialPlan, run_suggestion
from sweeps.workers.warm_imports import importing


def run_sweep(request: SweepRequest, console: Console) -> Outcome:
    """Run a sweep, or what is left of it.

    Raises:
        ConfigError: anything a user can fix, before the first trial.
    """
    with checked(request, console.out) as (request, input_shape), request.folder.lock():
        try:
            with importing():
                search = make_search(request, input_shape)
                parent_run_id = record_start(request)
            return _run_and_finish(request, search, parent_run_id, console)
        except Exception as error:
            explanation = explain_error(request, error)
            if explanation is None or explanation is error:
                raise
            raise explanation from error


def _run_and_finish(
    request: SweepRequest, search: OptunaSearch, parent_run_id: str, console: Console
) -> Outcome:
    """Run what is left, and end in order whatever happens."""
    with Interrupt() as interrupt:
        try:
            # The second Ctrl-C raises: what is on disk is enough to go on.
            with suppress(KeyboardInterrupt), interrupt.within_limit():
                if search.remaining():
                    _run_trials(request, search, parent_run_id, console, interrupt)
            outcome = finish(request, search, parent_run_id, interrupt.requested)
            return replace(outcome, is_time_up=interrupt.is_time_up)
        except Exception as error:
            with suppress(Exception):  # the first error is the one that explains
                if is_full(error):
                    finish_without_space(request, parent_run_id)
                else:
                    finish(request, search, parent_run_id, interrupted=True)
            raise


@contextmanager
def checked(
    request: SweepRequest, say: Callable[[str], None]
) -> Iterator[tuple[SweepRequest, tuple[int, ...]]]:
    """Make every check of a sweep, and stay connected to its cluster; a dry run ends there.

    Args:
        request: what is to be run.
        say: takes one line for the user.

    Yields:
        The request with a number for `gpus_per_trial`, and the shape of one sample.

    Raises:
        ConfigError: the first thing to mend; nothing is left behind.
    """
    with importing():  # MLflow and SQLAlchemy import more when first used
        study_url = find_study_url(request)
        input_shape = check_start(request, study_url)
        check_same_search(request.space, request.folder.name, study_url)
    with connected(request.address, request.ship_code):
        space = resolve_gpus(request.space, request.address, request.data_root, say)
        yield replace(request, space=space), input_shape


def _run_trials(
    request: SweepRequest,
    search: OptunaSearch,
    parent_run_id: str,
    console: Console,
    interrupt: Interrupt,
) -> None:
    """Let Ray run the trials that `search` hands out."""
    settings = request.settings
    plan = TrialPlan(request.space, request.folder, request.context("search", parent_run_id))
    progress = ProgressCallback(
        _counts(search), console, partial(seed_folders, request.folder), settings.max_failures
    )

    def close() -> None:
        wait_for_writers(request.folder.journals())
        finish(request, search, parent_run_id, interrupted=True)

    def on_lost(what: str) -> None:
        progress.close()
        end_process(what, close)

    announce(request.address, console)
    with cluster(request.address, settings, on_lost) as num_at_a_time:
        code = request.folder.keep_code(request.space.imported_paths())
        trainable = ray_function(run_suggestion, plan, code)
        stopped = _on_stop(request, parent_run_id)
        search.on_broken = stop_tune
        while (count := search.remaining()) and not interrupt.requested:
            run_trials(
                trainable,
                settings,
                request.folder,
                progress,
                progress.folders,
                search_alg=search,
                scheduler=TaskBoundaryScheduler(search, stopped, progress.gave_up_early),
                num_samples=count,
                max_concurrent_trials=num_at_a_time,
                trial_dirname_creator=lambda trial: f"{trial.config['number']:04d}",
            )
            if search.error is not None:
                raise search.error
            if not progress.take_early():
                break


def _on_stop(request: SweepRequest, parent_run_id: str) -> Callable[[int], None]:
    """Make what ends the MLflow runs of a trial stopped early, at once and not with the sweep."""

    def stopped(number: int) -> None:
        for path in note_stop(request.folder, number):
            deliver(request.store, path, parent_run_id)

    return stopped


def _counts(search: OptunaSearch) -> Counts:
    """Count the trials of earlier starts, from which progress goes on."""
    ends, sweep = trial_ends(search), search.space.sweep
    is_ranked = len(sweep.modes) == 1
    done, failed, stopped = len(ends.done), len(ends.failed), len(ends.stopped)
    return Counts(
        total=done + failed + stopped + len(search.refused) + search.remaining(),
        size=Size(search.space.example().benchmark.num_tasks, len(sweep.seeds)),
        mode=sweep.modes[0] if is_ranked else "",
        objective=sweep.objectives[0],
        done=done,
        failed=failed,
        stopped=stopped,
        refused=search.refused,
        stop_at=ends_at(),
        best=(ends.best[0]["value"], ends.best[0]["number"]) if ends.best and is_ranked else None,
    )
