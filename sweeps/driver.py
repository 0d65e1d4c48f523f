"""A sweep from start to end: folders, database, data, Ray Tune, records, the best trials.

Started again on the same folder, it goes on: the study knows which trials are done, those that
were running are handed out again, and each finds its checkpoints and its MLflow runs.
"""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hcl.config import ConfigError, TrialConfig
from sweeps import folder as folders
from sweeps import preflight
from sweeps.again import reopen_failed
from sweeps.ending import end
from sweeps.folder import SweepFolder
from sweeps.full_disk import causes, is_full, no_space
from sweeps.gpu_probe import settle
from sweeps.imports import importing
from sweeps.interrupt import Interrupt
from sweeps.outcome import Outcome, explain, finished_trials, note_stop
from sweeps.ray_cluster import cluster, connected, set_environment
from sweeps.resources import gpus
from sweeps.search_space import SearchSpace
from sweeps.seed_run import TOO_LARGE, Place
from sweeps.tracking import (
    Store,
    deliver,
    local_store,
    prepare,
    redact,
    space_params,
    start_sweep,
)
from sweeps.tuning import run_trials

if TYPE_CHECKING:
    from rich.console import Console

    from sweeps.search import OptunaSearch


@dataclass(frozen=True)
class SweepRequest:
    """What to run.

    Attributes:
        space: what is searched and how.
        folder: where everything is kept.
        address: of a Ray cluster; None = this machine.
        tracking_uri: of an MLflow server; None = a file in the storage folder.
        study_url: database of the study; None = a file in the sweep's folder.
        data_root: folder with the data sets.
        command: how a person started it.
        ship_code: whether this code is sent to the cluster's workers.
    """

    space: SearchSpace
    folder: SweepFolder
    address: str | None = None
    tracking_uri: str | None = None
    study_url: str | None = None
    data_root: str | None = None
    command: str = ""
    ship_code: bool = False

    @property
    def store(self) -> Store:
        """Where its MLflow runs go."""
        return store_of(self.folder, self.tracking_uri)


def store_of(folder: SweepFolder, tracking_uri: str | None) -> Store:
    """The MLflow store of a sweep: a server, or files in the storage folder."""
    if tracking_uri is None:
        return local_store(folder.storage, folder.name)
    return Store(tracking_uri, None, folder.name)


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


def make_search(request: SweepRequest, input_shape: tuple[int, ...]) -> "OptunaSearch":
    """The study and what is left of it: failed trials too, where the cause may be mended.

    Raises:
        ConfigError: the study searches something else.
    """
    from sweeps.search import OptunaSearch
    from sweeps.study import open_study

    folder, url = request.folder, _study_url(request)
    if folder.space_file.exists():
        open_study(request.space, folder.name, url)  # another search changes nothing of it
        reopen_failed(folder, url)
    ratio = ratio_of(input_shape)
    return OptunaSearch(request.space, folder.name, url, explain(folder), ratio)


def _told(request: SweepRequest, error: Exception) -> BaseException | None:
    """What ended the sweep, without what Ray wraps it in, where a person can mend it."""
    if is_full(error):
        return ConfigError(
            f"{no_space(request.folder.path)}; nothing is lost: free some, then go on with the"
            " same command"
        )
    return next((one for one in causes(error) if isinstance(one, ConfigError)), None)


def _study_url(request: SweepRequest) -> str:
    """The study's database; another one than at the start would number its trials anew."""
    info, url = request.folder.read_info(), request.study_url
    shown = None if url is None else redact(url)
    if info and info.get("study_url") != shown:
        was = info.get("study_url") or "a file in the sweep's folder (no --study-url)"
        raise ConfigError(
            f"the study of sweep {request.folder.name!r} is in {was}, not in"
            f" {shown or 'its folder'}; use the same --study-url or another --name"
        )
    return url or request.folder.study_url


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


def ratio_of(input_shape: tuple[int, ...]) -> Callable[[TrialConfig], float]:
    """The compression ratio of a configuration; infinite where no computer can count it."""
    from hcl.sizes import compression_ratio  # imports torch

    def ratio(config: TrialConfig) -> float:
        try:
            return compression_ratio(config, input_shape)
        except RuntimeError as error:
            if TOO_LARGE not in str(error):
                raise
            return math.inf

    return ratio


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
        from sweeps.early_stopping import TaskBoundaryScheduler
        from sweeps.progress import ProgressCallback
        from sweeps.trial import TrialPlan, make_trainable

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
    from sweeps.progress import Counts

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
