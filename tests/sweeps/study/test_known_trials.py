"""What a storage remembers of its trials beside what its database holds."""

import math
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from sweeps.study import storage as study_storage
from sweeps.study.storage import PatientStorage, open_storage, requeue


def opened(tmp_path: Path) -> tuple[PatientStorage, int, str]:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    storage = open_storage(url)
    optuna.create_study(study_name="s", storage=storage)
    return storage, storage.get_study_id_from_name("s"), url


def as_in_database(url: str, study_id: int) -> list[FrozenTrial]:
    return open_storage(url).get_all_trials(study_id)


def test_changes_are_those_of_the_database(tmp_path: Path) -> None:
    storage, study_id, url = opened(tmp_path)
    storage.get_all_trials(study_id)
    for number in range(3):
        trial = storage.create_new_trial(study_id)
        storage.set_trial_param(trial, "lr", 0.25, FloatDistribution(0.1, 1.0, log=True))
        storage.set_trial_param(trial, "size", 7.0, IntDistribution(1, 9))
        choices = CategoricalDistribution(["25,25", "50,50"])
        storage.set_trial_param(trial, "hidden", 1.0, choices)
        for step, value in ((1, 0.5), (2, math.inf), (1, 0.75)):
            storage.set_trial_intermediate_value(trial, step, value)
        storage.set_trial_user_attr(trial, "pair", ("a", number))
        storage.set_trial_system_attr(trial, "completed_rung_0", 0.5)
        assert storage.get_all_trials(study_id) == as_in_database(url, study_id)
    storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.5])
    assert storage.get_all_trials(study_id) == as_in_database(url, study_id)
    assert storage.get_trial(trial) == as_in_database(url, study_id)[-1]


def test_a_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, study_id, _ = opened(tmp_path)
    trial = storage.create_new_trial(study_id)
    storage.get_all_trials(study_id)
    monkeypatch.setattr(storage._storage, "get_trial", lambda _: pytest.fail("it was read"))
    storage.set_trial_intermediate_value(trial, 1, 0.5)
    assert storage.get_trial(trial).intermediate_values == {1: 0.5}
    assert storage.get_all_trials(study_id)[0].intermediate_values == {1: 0.5}


def test_a_change_that_failed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, study_id, url = opened(tmp_path)
    trial = storage.create_new_trial(study_id)
    storage.get_all_trials(study_id)
    real = storage._storage.set_trial_user_attr

    def half(trial_id: int, key: str, value: object) -> None:
        real(trial_id, key, value)
        raise RuntimeError("the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr(storage._storage, "set_trial_user_attr", half)
        with pytest.raises(RuntimeError, match="broke"):
            storage.set_trial_user_attr(trial, "a", 1)
    storage.set_trial_user_attr(trial, "b", 2)
    assert storage.get_trial(trial).user_attrs == {"a": 1, "b": 2}
    assert storage.get_all_trials(study_id) == as_in_database(url, study_id)


def test_what_a_caller_changes_is_its_own(tmp_path: Path) -> None:
    storage, study_id, _ = opened(tmp_path)
    trial = storage.create_new_trial(study_id)
    storage.get_all_trials(study_id)
    storage.get_trial(trial).user_attrs["mine"] = 1
    assert storage.get_trial(trial).user_attrs == {}


def test_trials_that_were_queued_again_are_read_again(tmp_path: Path) -> None:
    storage, study_id, url = opened(tmp_path)
    trial = storage.create_new_trial(study_id)
    assert storage.get_all_trials(study_id)[0].state == TrialState.RUNNING
    requeue(url, "s", [0])
    assert storage.get_trial(trial).state == TrialState.WAITING
    assert study_storage._num_requeued == storage._num_requeued
