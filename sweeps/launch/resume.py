"""Decisions about which part of an earlier start a sweep takes up again.

Five records are read, and each decides one thing. The first three are read here and by the
searcher, before any trial; the last two by the worker that trains a seed.

sweep.json and search_space.yaml
    Whether this sweep was started before, and in which database its study is. Another database is
    refused (`find_study_url`).
the study
    Whether it is the same search (digests of the file's sections; another one is refused, see
    `sweeps.study.study`), and which trials are handed out: those that were RUNNING when the driver
    died, then new ones up to `num_trials` (`sweeps.study.searcher`). Trials that are COMPLETE or
    PRUNED are never handed out again.
a seed's journal
    Whether a trial that FAILed is handed out again: not if its last record says that it diverged
    (`reopen_failed`).
a seed's result.json
    Whether a seed of a trial that is handed out is trained at all: if it has a result, the result
    is read instead (`sweeps.workers.seed_batch`).
a seed's checkpoints
    The task and step at which its training goes on (`hcl.training.trial_state`).
"""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hcl.config import ConfigError, TrialConfig
from hcl.measure.needs import compression_ratio
from sweeps.launch.request import SweepRequest
from sweeps.records.disk_full import release, reserve
from sweeps.records.entries import space_params
from sweeps.records.folder import SweepFolder, git_tags
from sweeps.records.redact import redact_url
from sweeps.records.trial_ends import explain, readable_records, seed_folders, spent_seconds
from sweeps.study.searcher import OptunaSearch
from sweeps.study.storage import open_storage, requeue
from sweeps.study.study import open_study
from sweeps.tracking import end_sweep, prepare, start_sweep
from sweeps.tracking.store import with_driver
from sweeps.tracking.views import space_columns
from sweeps.workers.seed_records import TOO_LARGE


def find_study_url(request: SweepRequest) -> str:
    """Return the URL of the study's database, which is the same at every start.

    In another database the study would begin at trial 0 again, whose folder, checkpoints and
    MLflow run are another trial's.

    Raises:
        ConfigError: earlier starts used another one.
    """
    info, url = request.folder.read_info(), request.study_url
    shown = None if url is None else redact_url(url)
    recorded = redact_url(info.get("study_url") or "")  # an older hcl hid less
    if info and recorded != (shown or ""):
        was = recorded or "a file in the sweep's folder (no --study-url)"
        raise ConfigError(
            f"the study of sweep {request.folder.name!r} is in {was}, not in"
            f" {shown or 'its folder'}; use the same --study-url or another --name"
        )
    return with_driver(url) if url else request.folder.study_url


def make_search(request: SweepRequest, input_shape: tuple[int, ...]) -> OptunaSearch:
    """Open the study and what is left of it, failed trials included where a retry may help.

    Raises:
        ConfigError: the study searches something else.
    """
    folder, url = request.folder, find_study_url(request)
    if folder.space_file.exists():
        # First of all refuse another search space: a refused start must change nothing.
        open_study(request.space, folder.name, url)
        reopen_failed(folder, url)
    ratio = ratio_of(input_shape)
    search = OptunaSearch(request.space, folder.name, url, explain(folder), ratio)
    cores = request.settings.cpus_per_trial
    search.spent = lambda: cores * spent_seconds(folder) / 3600
    return search


def record_start(request: SweepRequest) -> str:
    """Write sweep.json, the search space and the sweep's MLflow run; return the run's id.

    A later start finds the run by its name and goes on with it. It keeps the time of the first
    start and replaces the rest: the search space may ask for more trials now.

    Raises:
        ConfigError: MLflow's store cannot be used.
        OSError: the disk is full; the sweep's run is closed again.
    """
    folder, space, store = request.folder, request.space, request.store
    reserve(folder.path)
    prepare(store)
    git, document, command = git_tags(), space.to_dict(), request.command
    tags = {**git, "description": space.description, "command": command}
    info = folder.read_info()
    tags |= {"protocol": "full", **info.get("tags", {})}
    if parent := info.get("study_run_id"):
        tags["mlflow.parentRunId"] = parent
    folder.write_space(document)
    columns = space_columns(document)
    parent_run_id = start_sweep(store, folder.name, space_params(document), tags, columns)
    try:
        _write_info(request, git, command, parent_run_id)
    except OSError:
        release(folder.path)
        with suppress(ConfigError):  # the first error is the one that explains
            end_sweep(store, parent_run_id, "KILLED", {}, [])
        raise
    return parent_run_id


def _write_info(
    request: SweepRequest, git: dict[str, Any], command: str, parent_run_id: str
) -> None:
    folder, store = request.folder, request.store
    folder.write_info(
        created=folder.read_info().get("created") or time.strftime("%F %T%z"),
        **git,
        parent_run_id=parent_run_id,
        command=command,
        tracking_uri=None if request.tracking_uri is None else store.shown_uri,
        study_url=None if request.study_url is None else redact_url(request.study_url),
        status="RUNNING",
    )


def ratio_of(input_shape: tuple[int, ...]) -> Callable[[TrialConfig], float]:
    """Make the function that gives a configuration's compression ratio.

    The ratio is infinite where the network is too large for torch to count.
    """

    def ratio(config: TrialConfig) -> float:
        try:
            return compression_ratio(config, input_shape)
        except RuntimeError as error:
            if TOO_LARGE not in str(error):
                raise
            return math.inf

    return ratio


def reopen_failed(folder: SweepFolder, study_url: str) -> list[int]:
    """Queue failed trials again, under their numbers, where a person may have mended the cause.

    Causes such as a full disk, too little memory, missing data or a process that died too often
    may be gone. A trial that diverged would diverge again and stays FAILed.

    Args:
        folder: the sweep's folder.
        study_url: database of its study, which may not be there yet.

    Returns:
        Numbers of the trials that the search hands out again.
    """
    try:
        study = optuna.load_study(study_name=folder.name, storage=open_storage(study_url))
    except KeyError:
        return []
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    numbers = [trial.number for trial in failed if _retry_may_help(folder, trial)]
    requeue(study_url, folder.name, numbers)
    return numbers


def _retry_may_help(folder: SweepFolder, trial: FrozenTrial) -> bool:
    """Say whether no seed of a failed trial has a journal that rules a retry out."""
    if "ray_trial_id" not in trial.user_attrs:  # never handed out: its values make no valid trial
        return False
    ends = [readable_records(path)[-1:] for path in seed_folders(folder, trial.number)]
    failed = [end[0] for end in ends if end and end[0]["kind"] == "failed"]
    return all(record.get("again", False) for record in failed)
