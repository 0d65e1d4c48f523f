"""A sweep's Optuna study: all starts of the sweep open the same one, no other search may."""

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial

from hcl.config import ConfigError
from sweeps.space.search_space import SearchSpace
from sweeps.study.pruners import make_pruner
from sweeps.study.storage import has_studies, open_storage


def open_study(space: SearchSpace, name: str, storage_url: str) -> Study:
    """Create the sweep's study, or open the one that is there.

    Args:
        space: what is searched. Its points to evaluate are queued once per study.
        name: name of the study.
        storage_url: database, as SQLAlchemy writes it.

    Raises:
        ConfigError: the database does not answer, or the study searches something else.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name,
        storage=open_storage(storage_url),
        directions=["maximize" if mode == "max" else "minimize" for mode in space.sweep.modes],
        load_if_exists=True,
        pruner=make_pruner(space.sweep),
    )
    _claim(study, space)
    versions = study.user_attrs.get("optuna_versions", [])
    if optuna.__version__ not in versions:
        study.set_user_attr("optuna_versions", [*versions, optuna.__version__])
    # A kill between two points leaves the rest for the next start.
    queued = {trial.user_attrs.get("point") for trial in study.get_trials(deepcopy=False)}
    for index, point in enumerate(space.stored_points()):
        if index not in queued:
            study.enqueue_trial(point, user_attrs={"point": index})
    return study


def is_refused(trial: FrozenTrial) -> bool:
    """Say whether a trial was above the bound of compression and never trained."""
    return trial.state.is_finished() and "refused" in trial.user_attrs


def check_same_search(space: SearchSpace, name: str, storage_url: str) -> None:
    """Refuse a study that exists and searches something else, and change nothing.

    Args:
        space: what is searched.
        name: name of the study.
        storage_url: database, as SQLAlchemy writes it; it may be empty or a missing file.

    Raises:
        ConfigError: the database does not answer, or the study searches something else.
    """
    if not has_studies(storage_url):
        return
    try:
        study = optuna.load_study(study_name=name, storage=open_storage(storage_url))
    except KeyError:
        return
    digests = study.user_attrs.get("digests")
    if digests is not None or study.get_trials(deepcopy=False):
        _refuse_another(name, digests, space.digests())


def _claim(study: Study, space: SearchSpace) -> None:
    """Note what a new study searches; refuse one that searches something else."""
    known, wanted = study.user_attrs.get("digests"), space.digests()
    if known is None and not study.get_trials(deepcopy=False):
        study.set_user_attr("digests", wanted)
    else:
        _refuse_another(study.study_name, known, wanted)


def _refuse_another(name: str, known: dict[str, str] | None, wanted: dict[str, str]) -> None:
    if known is None:
        raise ConfigError(f"study {name!r} was not made by hcl; choose another --name")
    if known != wanted:
        parts = ", ".join(part for part in wanted if known.get(part) != wanted[part])
        raise ConfigError(
            f"sweep {name!r} was started with another {parts}, so its trials cannot"
            " be compared with new ones; choose another --name or restore the file"
        )
