"""A study's database that may be restarted under a sweep."""

import functools
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

from hcl.config import ConfigError

log = logging.getLogger(__name__)

PATIENCE = 600.0  # seconds; trials go on training meanwhile
AWAY = (
    "the study's database does not answer any more; nothing is lost: start it, then go on with"
    " the same command"
)
ASKED = (  # what Optuna's cache asks of a database, but for what is below
    "_get_best_trial_id",
    "_get_trials",
    "_set_trial_param",
    "get_all_studies",
    "get_study_directions",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_system_attrs",
    "get_study_user_attrs",
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "set_study_system_attr",
    "set_study_user_attr",
    "set_trial_intermediate_value",
    "set_trial_system_attr",
    "set_trial_user_attr",
)


class PatientStorage(RDBStorage):
    """Asks again while its database does not answer, each change being made once.

    A connection that breaks while a change is committed leaves open whether it was made. Most
    can be made again; the others are looked for, as this process is the study's only driver.

    Attributes:
        patience: seconds; none is left once they were spent in vain.
    """

    patience = PATIENCE

    def set_trial_state_values(self, *args: Any, **kwargs: Any) -> bool:
        """As RDBStorage's."""
        tries = 0

        def change() -> bool:
            nonlocal tries
            tries += 1
            try:
                changed = super(PatientStorage, self).set_trial_state_values(*args, **kwargs)
            except UpdateFinishedTrialError:
                if tries == 1:
                    raise
                return True
            return changed or tries > 1

        return _patiently(self, change)

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        began, tries = datetime.now(), 0

        def create() -> FrozenTrial:
            nonlocal tries
            tries += 1
            made = self._made(study_id, template_trial, began) if tries > 1 else None
            return made or super(PatientStorage, self)._create_new_trial(study_id, template_trial)

        return _patiently(self, create)

    def _made(
        self, study_id: int, template: FrozenTrial | None, began: datetime
    ) -> FrozenTrial | None:
        """The trial that was created before the connection broke, if it was."""
        for trial in reversed(self.get_all_trials(study_id)):
            if template is not None:
                is_same = trial.user_attrs == template.user_attrs
            else:
                is_same = trial.datetime_start is not None and trial.datetime_start >= began
            if is_same:
                return trial
        return None


def _patiently(storage: PatientStorage, ask: Callable[[], Any]) -> Any:
    """The answer, waiting for it while the database is away.

    Raises:
        StorageInternalError: its answer is an error.
        ConfigError: it did not come back in time.
    """
    deadline, pause = time.monotonic() + storage.patience, 0.25
    while True:
        try:
            answer = ask()
        except (StorageInternalError, SQLAlchemyError) as error:
            if not _is_away(error):
                raise
            if time.monotonic() > deadline:
                storage.patience = 0.0
                raise ConfigError(AWAY) from error
            if pause == 0.25:
                log.warning("the study's database does not answer; waiting for it")
            time.sleep(pause)
            pause = min(2 * pause, 4.0)
        else:
            if pause > 0.25:
                log.warning("the study's database answers again")
            return answer


def _is_away(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    # PendingRollbackError: Optuna's second way to read trials, on the connection that broke.
    if not isinstance(cause, OperationalError | InterfaceError | PendingRollbackError):
        return False
    # Of a file nothing else passes by itself: it is missing, damaged, or its disk is full.
    return "sqlite3" not in str(cause) or "database is locked" in str(cause)


def _patient(name: str) -> Callable[..., Any]:
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def call(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        return _patiently(self, functools.partial(method, self, *args, **kwargs))

    return call


for _name in ASKED:
    setattr(PatientStorage, _name, _patient(_name))
