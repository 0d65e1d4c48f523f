"""A sweep from start to end: folders, database, data, Ray Tune, records, the best trials.

Started again on the same folder, it goes on: the study knows which trials are done, those that
were running are handed out again, and each finds its checkpoints and its MLflow runs.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hcl.config import ConfigError
from sweeps.cluster.connection import cluster, connected, set_environment
from sweeps.cluster.gpu_probe import settle
from sweeps.cluster.interrupt import Interrupt
from sweeps.cluster.resources import gpus
from sweeps.cluster.tuner import run_trials
from sweeps.launch import preflight
from sweeps.launch.finish import end
from sweeps.launch.outcome import Outcome, finished_trials
from sweeps.launch.request import SweepRequest
from sweeps.launch.resume import _study_url, make_search
from sweeps.records import folder as folders
from sweeps.records.disk_full import causes, is_full, no_space
from sweeps.records.trial_ends import note_stop
from sweeps.tracking import (
    deliver,
    prepare,
    redact,
    space_params,
    start_sweep,
)
from sweeps.workers.seed import Place
from sweeps.workers.warm_imports import importing

if TYPE_CHECKING:
    from rich.console import Console

    from sweeps.study.searcher import OptunaSearch


def run_sweep(request: SweepRequest, console: "Console") -> Outcome:
    """Run a sweep, or what is left of it.

    Raises:
        ConfigError: anything a user can fix, before the first trial.
    """
    set_environment()
    with importing():
        input_shape = check_start(request)
    with connected(request.address, request.ship_code), request.folder.lock():
        space = settle(request.space, request.address, request.data_root, console.out)
        request = replace(request, space=space)
        with importing():
            search = make_search(request, input_shape)
            parent_run_id = _begin(request)
        with Interrupt() as interrupt:
            try:
                if search.remaining():
                    _run_trials(request, search, parent_run_id, console, interrupt)
            except KeyboardInterrupt:
                pass  # the second Ctrl-C: what is on disk is enough to go on
            except Exception as error:
                with suppress(Exception):  # the first error is the one that explains
                    end(request, search, parent_run_id, interrupted=True)  # no run stays RUNNING
                if told := _told(request, error):
                    raise told from error
                raise
            return end(request, search, parent_run_id, interrupt.requested)


def _told(request: SweepRequest, error: Exception) -> BaseException | None:
    """What ended the sweep, without what Ray wraps it in, where a person can mend it."""
    if is_full(error):
        return ConfigError(
            f"{no_space(request.folder.path)}; nothing is lost: free some, then go on with the"
            " same command"
        )
    return next((one for one in causes(error) if isinstance(one, ConfigError)), None)


def check_start(request: SweepRequest) -> tuple[int, ...]:
    """Look at everything that a user can fix, before anything is made.

    Returns:
        The shape of one sample.

    Raises:
        ConfigError: the first thing to fix.
    """
    return preflight.check_start(
        request.space,
        request.folder,
        request.store,
        _study_url(request),
        request.data_root,
        is_local=request.address is None,
    )


def _begin(request: SweepRequest) -> str:
    """Make MLflow and the folder ready; the id of the sweep's run."""
    folder, space, store = request.folder, request.space, request.store
    prepare(store)
    git, document = folders.git_tags(), space.to_dict()
    tags = {**git, "description": space.description, "command": redact(request.command)}
    parent_run_id = start_sweep(store, folder.name, space_params(document), tags)
    folder.write_space(document)
    started = {"created": folder.read_info().get("created") or time.strftime("%F %T%z")}
    folder.write_info(
        **started,
        **git,
        parent_run_id=parent_run_id,
        command=redact(request.command),
        tracking_uri=None if request.tracking_uri is None else store.shown_uri,
        study_url=None if request.study_url is None else redact(request.study_url),
        status="RUNNING",
    )
    return parent_run_id


def _run_trials(
    request: SweepRequest,
    search: "OptunaSearch",
    parent_run_id: str,
    console: "Console",
    interrupt: Interrupt,
) -> None:
    sweep = request.space.sweep
    with cluster(request.address, sweep) as at_a_time:
        interrupt.listen()
        from sweeps.cluster.progress import ProgressCallback
        from sweeps.study.searcher import TaskBoundaryScheduler
        from sweeps.workers.trainable import TrialPlan, make_trainable

        plan = TrialPlan(request.space, request.folder, _place(request, parent_run_id))
        run_trials(
            make_trainable(plan),
            sweep,
            request.folder,
            ProgressCallback(_counts(search), console),
            search_alg=search,
            scheduler=TaskBoundaryScheduler(search, _on_stop(request, parent_run_id)),
            num_samples=search.remaining(),
            max_concurrent_trials=at_a_time,
            trial_dirname_creator=lambda trial: f"{trial.config['number']:04d}",
        )


def _on_stop(request: SweepRequest, parent_run_id: str) -> Callable[[int], None]:
    """What to do when a trial is stopped early: its runs end at once, not with the sweep."""

    def stopped(number: int) -> None:
        for path in note_stop(request.folder, number):
            deliver(request.store, path, parent_run_id)

    return stopped


def _place(request: SweepRequest, parent_run_id: str) -> Place:
    sweep = request.space.sweep
    return Place(
        sweep=request.folder.name,
        store=request.store,
        parent_run_id=parent_run_id,
        tags=folders.git_tags(),
        device="cuda" if gpus(sweep) else "cpu",
        gpu_share=gpus(sweep),
        threads=sweep.cpus_per_trial,
        data_root=request.data_root,
        checkpoint_every=sweep.checkpoint_every,
    )


def _counts(search: "OptunaSearch") -> Any:
    from sweeps.cluster.progress import Counts

    ended = finished_trials(search)
    done, failed, stopped = (len(ended[key]) for key in ("done", "failed", "stopped"))
    modes = search.space.sweep.modes
    best = ended["best"][0] if ended["best"] and len(modes) == 1 else None
    return Counts(
        total=done + failed + stopped + len(search.refused) + search.remaining(),
        num_tasks=search.space.example().benchmark.num_tasks,
        mode=modes[0] if len(modes) == 1 else "",
        objective=search.space.sweep.objectives[0],
        done=done,
        failed=failed,
        stopped=stopped,
        refused=search.refused,
        best=(best["value"], best["number"]) if best else None,
    )
