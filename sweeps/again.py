"""Trials that failed through no fault of their own are tried again by the next start."""

from typing import TYPE_CHECKING

from sweeps.folder import SweepFolder
from sweeps.outcome import readable_records, seed_folders

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def reopen_failed(folder: SweepFolder, study_url: str) -> list[int]:
    """Set FAILed trials back to RUNNING, as which the search hands them out again.

    All but those that diverged, which would do so again: a full disk, too little memory, missing
    data, a process that died too often are something that a person may have mended.

    Args:
        folder: of the sweep.
        study_url: database of its study, which may not be there yet.

    Returns:
        Their numbers.
    """
    import optuna
    import sqlalchemy
    from optuna.trial import TrialState

    from sweeps.study import open_storage

    storage = open_storage(study_url)
    try:
        study = optuna.load_study(study_name=folder.name, storage=storage)
    except KeyError:
        return []
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    trials = [trial for trial in failed if _may_end_otherwise(folder, trial)]
    # Optuna never changes a trial that has ended. A new one of the same values would be counted
    # beside it, and have another number than its checkpoints and its run.
    with storage.engine.begin() as connection:
        for trial in trials:
            known = {"id": trial._trial_id}
            for change in (
                "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL"
                " WHERE trial_id = :id AND state = 'FAIL'",
                "DELETE FROM trial_user_attributes WHERE trial_id = :id AND key = 'reason'",
            ):
                connection.execute(sqlalchemy.text(change), known)
    return [trial.number for trial in trials]


def _may_end_otherwise(folder: SweepFolder, trial: "FrozenTrial") -> bool:
    if "ray_trial_id" not in trial.user_attrs:  # its values together are no trial
        return False
    ends = [readable_records(path)[-1:] for path in seed_folders(folder, trial.number)]
    failed = [end[0] for end in ends if end and end[0]["kind"] == "failed"]
    return all(record.get("again", False) for record in failed)
