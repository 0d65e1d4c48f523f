"""Trials of studies as this process left them: a cache for the only process that writes."""

import copy
import json
from collections.abc import Callable, Iterable
from typing import Any

from optuna.trial import FrozenTrial


class KnownTrials:
    """Trials that need not be read from the database again.

    Optuna's own cache reads each trial under way anew, several times for each choice. Here a
    change is made in memory too once the database has it. What was changed in another way, or may
    have been (the change raised an error), is in doubt until it is read again.
    """

    def __init__(self) -> None:
        self._studies: dict[int, dict[int, FrozenTrial]] = {}  # trials by their ids
        self._in_doubt: set[int] = set()

    def clear(self) -> None:
        """Forget everything."""
        self._studies.clear()
        self._in_doubt.clear()

    def has_study(self, study_id: int) -> bool:
        """Say if all trials of a study are known or in doubt."""
        return study_id in self._studies

    def trials(self, study_id: int) -> list[FrozenTrial]:
        """Give a study's trials by number; none may be in doubt, none may be changed."""
        return list(self._studies[study_id].values())

    def in_doubt(self, study_id: int) -> set[int]:
        """Give the ids of a study's trials to read again."""
        return self._in_doubt & self._studies[study_id].keys()

    def get(self, trial_id: int) -> FrozenTrial | None:
        """Give a copy of a trial; None if it must be read."""
        found = None if trial_id in self._in_doubt else self._find(trial_id)
        return None if found is None else _copied(found)

    def put(self, study_id: int, trials: Iterable[FrozenTrial]) -> None:
        """Remember trials as they were read, in the order of their numbers."""
        known = self._studies.setdefault(study_id, {})
        for trial in trials:
            known[trial._trial_id] = trial
            self._in_doubt.discard(trial._trial_id)

    def doubt(self, trial_id: int) -> bool:
        """Say that a trial is about to change; returns whether it was in doubt before."""
        was_in_doubt = trial_id in self._in_doubt
        self._in_doubt.add(trial_id)
        return was_in_doubt

    def change(self, name: str, trial_id: int, *values: Any) -> None:
        """Make a change that the database has, by the name and arguments of the storage's method.

        A trial whose state changed stays in doubt: the database gives it times and values.
        """
        found = self._find(trial_id)
        if found is None or name not in _CHANGES:
            return
        changed = _copied(found)
        _CHANGES[name](changed, *values)
        for known in self._studies.values():
            if trial_id in known:
                known[trial_id] = changed
        self._in_doubt.discard(trial_id)

    def _find(self, trial_id: int) -> FrozenTrial | None:
        found = (known.get(trial_id) for known in self._studies.values())
        return next((trial for trial in found if trial is not None), None)


def _copied(trial: FrozenTrial) -> FrozenTrial:
    """Copy a trial so that a change to its settings, values or attributes is the copy's alone."""
    found = copy.copy(trial)
    found.params, found.distributions = dict(trial.params), dict(trial.distributions)
    found.user_attrs, found.system_attrs = dict(trial.user_attrs), dict(trial.system_attrs)
    found.intermediate_values = dict(trial.intermediate_values)
    return found


def _set_param(trial: FrozenTrial, name: str, value: float, distribution: Any) -> None:
    trial.params[name] = distribution.to_external_repr(value)
    trial.distributions[name] = distribution


# Attributes are JSON in the database: a tuple comes back as a list.
_CHANGES: dict[str, Callable[..., None]] = {
    "set_trial_param": _set_param,
    "set_trial_intermediate_value": lambda t, step, value: t.intermediate_values.update(
        {step: value}
    ),
    "set_trial_user_attr": lambda t, key, value: t.user_attrs.update(
        {key: json.loads(json.dumps(value))}
    ),
    "set_trial_system_attr": lambda t, key, value: t.system_attrs.update(
        {key: json.loads(json.dumps(value))}
    ),
}
