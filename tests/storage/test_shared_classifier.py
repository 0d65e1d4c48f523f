"""Shared classifiers: HNET+TIR takes HNET's, with the same results and no training of its own."""

from pathlib import Path
from typing import Any

import pytest
from tiny import assert_same, go, trial

from hcl.config import ConfigError, TrialConfig
from hcl.methods import Hnet
from hcl.results import Result
from hcl.storage.shared_classifier import classifier_digest
from hcl.training.learner import Runtime, run

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "subset": {"method/reg_tasks": 1},
    "full lookahead": {"method/lookahead": "full"},
}


def pair(scenario: str, **more: Any) -> tuple[TrialConfig, TrialConfig]:
    """Make an HNET trial and the HNET+TIR trial that shares its classifier."""
    tir = trial("hnet_tir", scenario, **more)
    ours = {k: v for k, v in more.items() if "decoder" not in k}
    return trial("hnet", "task" if scenario == "class" else scenario, **ours), tir


def go_shared(config: TrialConfig, folder: Path, **more: Any) -> Result:
    return run(config, runtime=Runtime(threads=1, classifiers=folder, **more))


@pytest.fixture
def classifier_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """List the tasks of all training steps of a classifier."""
    steps: list[int] = []
    original = Hnet.train_step

    def counted(self: Hnet, x: Any, y: Any) -> Any:
        steps.append(self.task_id)
        return original(self, x, y)

    monkeypatch.setattr(Hnet, "train_step", counted)
    return steps


def without_times(result: Result) -> dict[str, Any]:
    told = result.to_dict()
    for name in ("wall_seconds", "steps_per_second"):
        del told["metrics"][name]
    return told


@pytest.mark.parametrize("scenario", ["domain", "class"])
@pytest.mark.parametrize("name", SETTINGS)
def test_taken_and_trained_classifiers_give_the_same_result(
    tmp_path: Path, scenario: str, name: str, classifier_steps: list[int]
) -> None:
    more = {k.replace("/", "__"): v for k, v in SETTINGS[name].items()}
    hnet, tir = pair(scenario, **more)
    go_shared(hnet, tmp_path)
    alone = go(tir)
    trained = len(classifier_steps)
    taken = go_shared(tir, tmp_path)
    assert len(classifier_steps) == trained, "it trained the classifier again"
    assert_same(without_times(taken), without_times(alone))


def test_what_is_shared_late_is_taken_from_then_on(
    tmp_path: Path, classifier_steps: list[int]
) -> None:
    """States are shared task by task: a trial may start before the one that gives is done."""
    hnet, tir = pair("class")
    go_shared(hnet, tmp_path)
    (folder,) = tmp_path.iterdir()
    sorted(folder.iterdir())[1].unlink()
    alone = go(tir)
    classifier_steps.clear()
    taken = go_shared(tir, tmp_path)
    assert set(classifier_steps) == {1}
    assert_same(without_times(taken), without_times(alone))


@pytest.mark.parametrize("shared_before", [True, False])
def test_a_restart_between_tasks_may_change_who_trains(
    tmp_path: Path, shared_before: bool
) -> None:
    hnet, tir = pair("class")
    go_shared(hnet, tmp_path / "shared")
    alone = go(tir)
    first = {"classifiers": tmp_path / "shared"} if shared_before else {}
    second = {} if shared_before else {"classifiers": tmp_path / "shared"}

    def stop(row: Any) -> None:
        if row.tasks_learned == 2:
            raise KeyboardInterrupt

    folder = tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        run(tir, stop, runtime=Runtime(threads=1, checkpoint_dir=folder, **first))
    resumed = run(tir, runtime=Runtime(threads=1, checkpoint_dir=folder, **second))
    assert_same(without_times(resumed), without_times(alone))


def test_a_task_begun_with_a_taken_classifier_needs_it(tmp_path: Path) -> None:
    hnet, tir = pair("class")
    go_shared(hnet, tmp_path / "shared")
    folder = tmp_path / "checkpoints"

    def stop(progress: Any) -> None:
        if progress.task_id == 1:
            raise KeyboardInterrupt

    inside = {"checkpoint_dir": folder, "checkpoint_every": 3}
    shared = Runtime(threads=1, classifiers=tmp_path / "shared", **inside)
    with pytest.raises(KeyboardInterrupt):
        run(tir, progress=stop, runtime=shared)
    with pytest.raises(ConfigError, match="begun with a shared classifier"):
        run(tir, runtime=Runtime(threads=1, **inside))
    resumed = go_shared(tir, tmp_path / "shared", **inside)
    assert_same(without_times(resumed), without_times(go(tir)))


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    hnet, tir = pair("domain")
    go_shared(hnet, tmp_path)
    (folder,) = tmp_path.iterdir()
    sorted(folder.iterdir())[0].write_bytes(b"no checkpoint")
    with pytest.raises(ConfigError, match="cannot be read"):
        go_shared(tir, tmp_path)


def test_only_equal_classifiers_have_one_digest() -> None:
    hnet, tir = pair("class")
    assert classifier_digest(hnet) == classifier_digest(tir) is not None
    assert classifier_digest(tir) == classifier_digest(pair("class", method__decoder_beta=1.0)[1])
    for other in ({"seed": 2}, {"method__beta": 0.5}, {"train__lr": 0.5}, {"benchmark__seed": 7},
                  {"target__hidden_sizes": [9]}, {"benchmark__val_fraction": 0.1}):  # fmt: skip
        assert classifier_digest(pair("class", **other)[0]) != classifier_digest(tir), other
    assert classifier_digest(pair("domain")[0]) != classifier_digest(tir)
    assert classifier_digest(trial("hnet_r")) is None and classifier_digest(trial("si")) is None
