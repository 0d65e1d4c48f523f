"""Changes of a search space from the command line, and what one sweep hands to the next."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from journals import write_journal
from optuna.trial import TrialState, create_trial
from typer.testing import CliRunner

from hcl.config import ConfigError, TrialConfig, flatten
from sweeps.cli import app
from sweeps.records.folder import SweepFolder
from sweeps.space.search_space import parse
from sweeps.space.sections import overridden
from sweeps.study.study import open_study

DOCUMENT: dict[str, Any] = {
    "trial": {
        "benchmark": {"name": "split_digits", "num_tasks": 2, "val_fraction": 0.2},
        "target": {"hidden_sizes": [8]},
        "method": {"name": "hnet"},
        "train": {"iterations": 10},
    },
    "search": {
        "method/beta": {"type": "float", "low": 1e-3, "high": 1.0, "log": True},
        "method/hidden_sizes": {"type": "choice", "values": [[10, 10], [25, 25]]},
        "train/lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    },
    "points_to_evaluate": [{"method/beta": 0.01, "train/lr": 1e-3}],
    "sweep": {"num_trials": 3, "sampler": "random"},
}


def test_a_setting_is_fixed_and_searched_no_more() -> None:
    changes = {"train/lr": 0.005, "train/iterations": 7, "sweep/num_trials": 5}
    space = parse(overridden(DOCUMENT, changes), "tiny")
    assert set(space.parameters) == {"method/beta", "method/hidden_sizes"}
    assert space.points == ({"method/beta": 0.01},)
    config = space.example()
    assert (config.train.lr, config.train.iterations, space.sweep.num_trials) == (0.005, 7, 5)
    assert overridden(DOCUMENT, {}) == DOCUMENT


def test_a_fixed_setting_can_be_searched() -> None:
    ends = {"type": "int", "low": 5, "high": 9}
    space = parse(overridden(DOCUMENT, {"search/train/iterations": ends}), "tiny")
    assert "train/iterations" in space.parameters and "train/iterations" not in space.constants


def test_a_mistake_is_reported_like_one_in_the_file() -> None:
    with pytest.raises(ConfigError, match="trial.train/iteratons: unknown key; did you mean"):
        parse(overridden(DOCUMENT, {"train/iteratons": 7}), "tiny")


def test_points_of_another_sweep_come_first_and_what_does_not_fit_is_named() -> None:
    space = parse(DOCUMENT, "tiny")
    found = [
        {"method/beta": 0.5, "method/hidden_sizes": [25, 25], "method/chunk_size": 100},
        {"method/beta": 99.0, "method/hidden_sizes": [10, 10], "train/lr": 2e-3},
    ]
    started, notes = space.with_points(found)
    assert started.points == (
        {"method/beta": 0.5, "method/hidden_sizes": (25, 25)},
        {"method/hidden_sizes": (10, 10), "train/lr": 2e-3},
        {"method/beta": 0.01, "train/lr": 1e-3},
    )
    assert notes[0] == "train/lr: the other sweep did not search it"
    assert "method/chunk_size: is not searched here" in notes
    assert any(note.startswith("method/beta: ") and "99.0" in note for note in notes)
    assert parse(started.to_dict(), "tiny") == started


def test_conditions_decide_over_the_points_too() -> None:
    condition = {"type": "choice", "values": ["relu", "elu"], "when": {
        "method/hidden_sizes": [[25, 25]]}}  # fmt: skip
    document = {**DOCUMENT, "search": {**DOCUMENT["search"], "method/activation": condition},
                "points_to_evaluate": []}  # fmt: skip
    found = [{"method/hidden_sizes": [10, 10], "method/activation": "elu"}]
    started, _ = parse(document, "tiny").with_points(found)
    assert started.points == ({"method/hidden_sizes": (10, 10)},)


def sweep_of(storage: Path, name: str, betas: list[float]) -> SweepFolder:
    """Make a finished sweep whose objective is beta, without any training."""
    folder, space = SweepFolder(storage, name), parse({**DOCUMENT, "points_to_evaluate": []}, name)
    folder.write_space(space.to_dict())
    study = open_study(space, name, folder.study_url)
    for beta in betas:
        params = {"method/beta": beta, "method/hidden_sizes": "25,25", "train/lr": 1e-3}
        trial = create_trial(params=params, distributions=space.distributions(),
                             state=TrialState.COMPLETE, value=beta)  # fmt: skip
        study.add_trial(trial)
    return folder


@pytest.fixture
def hcl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(DOCUMENT))

    def call(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "--storage", "kept"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return call


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore")
def test_a_warm_started_sweep_tries_the_best_first_and_goes_on_with_them(
    hcl, tmp_path: Path
) -> None:
    sweep_of(tmp_path / "kept", "earlier", [0.1, 0.4, 0.2, 0.3])
    out = hcl("sweep", "mine.yaml", "--warm-start", "earlier", "--set", "train/iterations=4",
              "--dry-run")  # fmt: skip
    assert "the best 3 configurations of earlier are tried first" in out
    assert "trial 0 is given: method/beta 0.4, method/hidden_sizes 25,25, train/lr 0.001" in out
    begun = SweepFolder(tmp_path / "kept", "mine")
    begun.write_space(parse(DOCUMENT, "mine").to_dict())
    out = hcl("sweep", "mine.yaml", "--warm-start", "earlier", "--dry-run")
    assert "trial 0 is given: method/beta 0.01, train/lr 0.001" in out  # what it began with


def test_the_best_of_a_sweep_is_a_file_for_run(hcl, tmp_path: Path) -> None:
    sweep_of(tmp_path / "kept", "earlier", [0.1, 0.4, 0.2])
    hcl("best", "earlier", "--out", "trial.yaml")
    text = (tmp_path / "trial.yaml").read_text()
    assert text.startswith("# best of sweep earlier: trial 1, val/task/average_accuracy 40.00 %")
    config = TrialConfig.from_dict(flatten(yaml.safe_load(text)))
    assert config.to_dict()["method/beta"] == 0.4
    assert "method/beta: 0.4" in hcl("best", "earlier")
    settings = json.loads(hcl("best", "earlier", "--json"))
    assert TrialConfig.from_dict(settings) == config and "seed" not in settings


def test_the_best_of_a_study_is_chosen_on_validation_data(hcl, tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "kept", "study")
    for trial, (beta, offset) in enumerate([(0.1, 0.0), (0.2, -0.1)]):
        for seed in (1, 2):
            key = f"study/{trial:04d}/seed_{seed}"
            made = write_journal(tmp_path / "made", key, offset=offset, **{"method/beta": beta})
            place = folder.seed_folder(trial, seed)
            place.parent.mkdir(parents=True, exist_ok=True)
            made.rename(place)
    out = hcl("best", "study")
    assert out.startswith("# best of study study: val/task/average_accuracy")
    assert "mean of 2 seeds" in out and "method/beta: 0.1" in out
