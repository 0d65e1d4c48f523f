"""Optuna's database storage, made to outlive a restart of the database.

Only public methods of Optuna's storage are called and overridden.
"""

import copy
import functools
import logging
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import NullPool, create_engine, inspect, make_url
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

from hcl.config import ConfigError
from sweeps.records.redact import redact, redact_url
from sweeps.study.known_trials import KnownTrials

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 600.0  # seconds; trials go on training meanwhile
_num_requeued = 0  # how often this process has queued trials again
SHORTEST_PAUSE, LONGEST_PAUSE = 0.25, 4.0  # seconds between two questions
AWAY = (
    "the study's database does not answer any more; nothing is lost: start it, then go on with"
    " the same command"
)


def open_storage(url: str) -> "PatientStorage":
    """Open the database of studies at `url`, as SQLAlchemy writes it.

    Raises:
        ConfigError: the database does not answer; one sentence, without its password.
    """
    return PatientStorage(optuna.storages.get_storage(_connect(url, RDBStorage)))


def has_studies(url: str) -> bool:
    """Tell whether Optuna has made its tables in a database; opening it otherwise makes them.

    Raises:
        ConfigError: the database does not answer; one sentence, without its password.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists():
        return False
    with _failures_as_config_error(url):
        return inspect(create_engine(url, poolclass=NullPool)).has_table("studies")


def requeue(url: str, study_name: str, numbers: Iterable[int]) -> None:
    """Queue trials again under their numbers; the study hands them out with their values.

    Args:
        url: database of the study.
        study_name: name of the study.
        numbers: trials that are running or have failed.
    """
    global _num_requeued
    numbers = list(numbers)
    if not numbers:
        return
    storage = PatientStorage(_connect(url, _ReopeningStorage))
    study_id = storage.get_study_id_from_name(study_name)
    for number in numbers:
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
        if storage.get_trial(trial_id).user_attrs.get("reason") is not None:
            storage.set_trial_user_attr(trial_id, "reason", None)
        storage.set_trial_state_values(trial_id, TrialState.WAITING)
    _num_requeued += 1


def _patient(name: str) -> Callable[..., Any]:
    """Make a method that asks the wrapped storage until its database answers."""

    # Without `updated=()` the method would be abstract, as the one that it overrides.
    @functools.wraps(getattr(BaseStorage, name), updated=())
    def method(self: "PatientStorage", *args: Any, **kwargs: Any) -> Any:
        ask = functools.partial(getattr(self._storage, name), *args, **kwargs)
        if not name.startswith("set_trial_"):
            return self._wait_for(lambda is_again: ask())
        was_in_doubt = self._known.doubt(args[0] if args else kwargs["trial_id"])
        answer = self._wait_for(lambda is_again: ask())
        if not was_in_doubt and not kwargs:
            self._known.change(name, *args)
        return answer

    return method


class PatientStorage(BaseStorage):
    """A storage that asks again while its database does not answer; each change is made once.

    A connection that breaks during a commit leaves open whether the change was made. Most
    changes can be made twice without harm. The others (a new trial, the end of a trial) are
    looked for before the next attempt; this process is the study's only driver, so what it finds
    is its own. For the same reason a trial is read once alone, see KnownTrials.

    Args:
        storage: Optuna's storage of the database.

    Attributes:
        patience: seconds to wait; 0 once they were spent in vain.
    """

    patience = PATIENCE

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self._known = KnownTrials()
        self._num_requeued = _num_requeued

    create_new_study = _patient("create_new_study")
    delete_study = _patient("delete_study")
    get_all_studies = _patient("get_all_studies")
    get_study_directions = _patient("get_study_directions")
    get_study_id_from_name = _patient("get_study_id_from_name")
    get_study_name_from_id = _patient("get_study_name_from_id")
    get_study_system_attrs = _patient("get_study_system_attrs")
    get_study_user_attrs = _patient("get_study_user_attrs")
    get_trial_id_from_study_id_trial_number = _patient("get_trial_id_from_study_id_trial_number")
    set_study_system_attr = _patient("set_study_system_attr")
    set_study_user_attr = _patient("set_study_user_attr")
    set_trial_intermediate_value = _patient("set_trial_intermediate_value")
    set_trial_param = _patient("set_trial_param")
    set_trial_system_attr = _patient("set_trial_system_attr")
    set_trial_user_attr = _patient("set_trial_user_attr")

    def set_trial_state_values(self, *args: Any, **kwargs: Any) -> bool:
        """Change a trial's state, and its values where it ends."""
        self._known.doubt(args[0] if args else kwargs["trial_id"])

        def change(is_again: bool) -> bool:
            try:
                return self._storage.set_trial_state_values(*args, **kwargs) or is_again
            except UpdateFinishedTrialError:
                if not is_again:
                    raise
                return True  # the attempt before ended it

        return self._wait_for(change)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial and return its id."""
        began = datetime.now()

        def create(is_again: bool) -> int:
            made = self._find_created(study_id, template_trial, began) if is_again else None
            if made is None:
                return self._storage.create_new_trial(study_id, template_trial)
            return self._storage.get_trial_id_from_study_id_trial_number(study_id, made)

        trial_id = self._wait_for(create)
        if self._known.has_study(study_id):
            self._known.put(study_id, [self._read(trial_id)])
        return trial_id

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial."""
        self._forget_if_requeued()
        known = self._known.get(trial_id)
        return self._read(trial_id) if known is None else known

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return all trials, or those in some states, by number."""
        self._forget_if_requeued()
        if not self._known.has_study(study_id):
            ask = functools.partial(self._storage.get_all_trials, study_id, deepcopy=False)
            self._known.put(study_id, self._wait_for(lambda is_again: ask()))
        self._known.put(study_id, map(self._read, self._known.in_doubt(study_id)))
        every = self._known.trials(study_id)
        found = [trial for trial in every if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def _read(self, trial_id: int) -> FrozenTrial:
        return self._wait_for(lambda is_again: self._storage.get_trial(trial_id))

    def _forget_if_requeued(self) -> None:
        """Forget all trials after some were changed by way of another storage than this."""
        if self._num_requeued != _num_requeued:
            self._known.clear()
            self._num_requeued = _num_requeued

    def _find_created(
        self, study_id: int, template: FrozenTrial | None, began: datetime
    ) -> int | None:
        """Number of the trial that was created before the connection broke, if it was."""
        for trial in reversed(self._storage.get_all_trials(study_id, deepcopy=False)):
            if template is not None:
                is_same = trial.user_attrs == template.user_attrs
            else:
                is_same = trial.datetime_start is not None and trial.datetime_start >= began
            if is_same:
                return trial.number
        return None

    def _wait_for(self, ask: Callable[[bool], T]) -> T:
        """Ask until the database answers.

        Args:
            ask: asks once; its argument says whether it was asked before.

        Raises:
            StorageInternalError: the answer is an error.
            ConfigError: the database did not come back in time.
        """
        deadline, pause, is_again = time.monotonic() + self.patience, SHORTEST_PAUSE, False
        while True:
            try:
                answer = ask(is_again)
            except (StorageInternalError, SQLAlchemyError) as error:
                if not _is_away(error):
                    raise
                if time.monotonic() > deadline:
                    self.patience = 0.0
                    raise ConfigError(AWAY) from error
                if not is_again:
                    log.warning("the study's database does not answer; waiting for it")
                time.sleep(pause)
                pause, is_again = min(2 * pause, LONGEST_PAUSE), True
            else:
                if is_again:
                    log.warning("the study's database answers again")
                return answer


class _ReopeningStorage(RDBStorage):
    """A storage that lets ended trials change, which Optuna's own refuses.

    A new trial with the same values would be Optuna's way. It would have another number than its
    checkpoints and its MLflow run, and all later trials other numbers than in a sweep where
    nothing failed.
    """

    def check_trial_is_updatable(self, trial_id: int, trial_state: TrialState) -> None:
        """Allow every change."""


S = TypeVar("S", bound=RDBStorage)


def _connect(url: str, kind: type[S]) -> S:
    with _failures_as_config_error(url):
        # No pool: nothing stays open between two questions, so nothing has to be closed.
        return kind(url, engine_kwargs={"poolclass": NullPool})


@contextmanager
def _failures_as_config_error(url: str) -> Iterator[None]:
    """Say in one sentence, without the password, why the database at `url` cannot be opened."""
    try:
        yield
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        why = redact(str(getattr(error, "orig", None) or error).splitlines()[0], url)
        raise ConfigError(
            f"the study's database {redact_url(url)} cannot be opened: {why}"
        ) from None


def _is_away(error: Exception) -> bool:
    """Say if waiting may help."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    # PendingRollbackError: Optuna's second way to read trials, on the connection that broke.
    if not isinstance(cause, OperationalError | InterfaceError | PendingRollbackError):
        return False
    # A database file is missing, damaged, or on a full disk: only a lock passes by itself.
    return "sqlite3" not in str(cause) or "database is locked" in str(cause)
