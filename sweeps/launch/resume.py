"""Trials that failed through no fault of their own are tried again by the next start."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from hcl.config import ConfigError, TrialConfig
from sweeps.launch.request import SweepRequest
from sweeps.records.trial_ends import explain
from sweeps.tracking import redact
from sweeps.workers.seed import TOO_LARGE

if TYPE_CHECKING:
    from sweeps.study.searcher import OptunaSearch

from typing import TYPE_CHECKING

from sweeps.records.folder import SweepFolder
from sweeps.records.trial_ends import readable_records, seed_folders

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


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
    import optuna
    from optuna.trial import TrialState

    from sweeps.study.storage import open_storage, requeue

    try:
        study = optuna.load_study(study_name=folder.name, storage=open_storage(study_url))
    except KeyError:
        return []
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    numbers = [trial.number for trial in failed if _may_end_otherwise(folder, trial)]
    requeue(study_url, folder.name, numbers)
    return numbers


def _may_end_otherwise(folder: SweepFolder, trial: "FrozenTrial") -> bool:
    if "ray_trial_id" not in trial.user_attrs:  # its values together are no trial
        return False
    ends = [readable_records(path)[-1:] for path in seed_folders(folder, trial.number)]
    failed = [end[0] for end in ends if end and end[0]["kind"] == "failed"]
    return all(record.get("again", False) for record in failed)


def make_search(request: SweepRequest, input_shape: tuple[int, ...]) -> "OptunaSearch":
    """The study and what is left of it: failed trials too, where the cause may be mended.

    Raises:
        ConfigError: the study searches something else.
    """
    from sweeps.study.searcher import OptunaSearch
    from sweeps.study.study import open_study

    folder, url = request.folder, _study_url(request)
    if folder.space_file.exists():
        open_study(request.space, folder.name, url)  # another search changes nothing of it
        reopen_failed(folder, url)
    ratio = ratio_of(input_shape)
    return OptunaSearch(request.space, folder.name, url, explain(folder), ratio)


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


def ratio_of(input_shape: tuple[int, ...]) -> Callable[[TrialConfig], float]:
    """The compression ratio of a configuration; infinite where no computer can count it."""
    from hcl.measure.needs import compression_ratio  # imports torch

    def ratio(config: TrialConfig) -> float:
        try:
            return compression_ratio(config, input_shape)
        except RuntimeError as error:
            if TOO_LARGE not in str(error):
                raise
            return math.inf

    return ratio
