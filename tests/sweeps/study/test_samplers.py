"""All samplers by name: on a real study, resumed, and refused where they do not fit."""

import itertools
from pathlib import Path
from typing import Any

import optuna
import pytest

from hcl.config import ConfigError
from sweeps.space.search_space import SearchSpace, parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.study.samplers import make_sampler
from sweeps.study.searcher import OptunaSearch

NAMES = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "grid": "GridSampler",
    "cmaes": "CmaEsSampler",
    "gp": "GPSampler",
    "nsga2": "NSGAIISampler",
}
TEXT = """
trial:
  benchmark: {name: split_digits, val_fraction: 0.2}
  method: {name: hnet}
search:
  method/beta: {type: float, low: 0.1, high: 0.7, step: 0.1}
  method/embedding_size: {type: int, low: 8, high: 32, step: 8}
  method/hidden_sizes: {type: choice, values: [[10, 10], [25, 25], []]}
points_to_evaluate:
  - {method/beta: 0.3, method/embedding_size: 16, method/hidden_sizes: []}
  - {method/embedding_size: 32}
sweep: {num_trials: 12}
"""
SIZE = 7 * 4 * 3


def space(text: str = TEXT, **sweep: Any) -> SearchSpace:
    return parse(parse_yaml(text), name="small").with_sweep(**sweep)


def errors_of(text: str = TEXT, **sweep: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        space(text, **sweep)
    return caught.value.errors


def run(folder: Path, used: SearchSpace, kill_every: int = 1000) -> list[dict[str, Any]]:
    """Return the values of all trials of a driver that is restarted after every `kill_every`."""
    folder.mkdir()
    asked: list[dict[str, Any]] = []
    searcher = None
    for number in range(used.sweep.num_trials):
        if searcher is None or number % kill_every == 0:
            searcher = OptunaSearch(used, "small", f"sqlite:///{folder / 'study.db'}")
        suggestion = searcher.suggest(f"t{number}")
        assert isinstance(suggestion, dict) and suggestion["number"] == number
        params = suggestion["params"]
        asked.append(params)
        value = params["method/beta"] + params["method/embedding_size"] / 1000
        done = {"objective": value, "tasks_learned": 5, "num_tasks": 5}
        searcher.on_trial_complete(f"t{number}", done)
    return asked


@pytest.mark.timeout(180)  # 42 trials: 5 s alone, a minute on a busy disk
@pytest.mark.parametrize("sampler", NAMES)
def test_a_resumed_search_goes_on_as_an_undisturbed_one(tmp_path: Path, sampler: str) -> None:
    used = space(sampler=sampler, num_trials=14)
    undisturbed = run(tmp_path / "one", used)
    assert run(tmp_path / "two", used, kill_every=5) == undisturbed
    assert len({tuple(params.values()) for params in undisturbed}) >= 10
    other = run(tmp_path / "three", space(sampler=sampler, num_trials=14, sampler_seed=1))
    assert other != undisturbed and other[0] == undisturbed[0]


@pytest.mark.parametrize("sampler", NAMES)
def test_names_are_optunas_samplers(sampler: str) -> None:
    assert type(make_sampler(space(sampler=sampler), 3)).__name__ == NAMES[sampler]


def test_one_generator_for_each_trial() -> None:
    study = optuna.create_study()
    drawn = set()
    for number in (0, 1, 1):
        study.sampler = make_sampler(space(sampler="random"), number)
        drawn.add(study.ask(space().distributions()).params["method/hidden_sizes"] + str(number))
    assert len(drawn) == 2


@pytest.mark.timeout(180)
def test_a_grid_is_tried_in_full_and_nothing_twice(tmp_path: Path) -> None:
    used = space(sampler="grid", num_trials=SIZE)
    asked = run(tmp_path / "all", used)
    betas = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    every = set(itertools.product(betas, [8, 16, 24, 32], ["10,10", "25,25", "[]"]))
    assert {tuple(params[key] for key in used.parameters) for params in asked} == every
    assert asked[0] == {
        "method/beta": 0.3, "method/embedding_size": 16, "method/hidden_sizes": "[]",
    }  # fmt: skip
    assert asked[1]["method/embedding_size"] == 32  # a partial point, filled up from the grid


def test_a_grid_counts_trials_under_way(tmp_path: Path) -> None:
    used = space(sampler="grid", num_trials=6)
    searcher = OptunaSearch(used, "small", f"sqlite:///{tmp_path / 'study.db'}")
    asked = [searcher.suggest(f"t{number}") for number in range(6)]
    assert len({str(suggestion["params"]) for suggestion in asked if suggestion}) == 6


def test_grids_that_cannot_be_are_refused() -> None:
    assert errors_of(sampler="grid", num_trials=85) == [
        "sweep.num_trials: 85 is more than the grid's 84 combinations; use 84"
    ]
    endless = TEXT.replace(", step: 0.1", "").replace("num_trials: 12", "sampler: grid")
    assert errors_of(endless) == [
        "search.method/beta: has no step, so sampler grid cannot list it; give it a step"
    ]
    huge = TEXT.replace("step: 0.1", "step: 0.00001").replace("num_trials: 12", "sampler: grid")
    assert errors_of(huge) == [
        "sweep.sampler: the grid has 720012 combinations, more than 100000; use larger steps or"
        " another sampler"
    ]


def test_cmaes_needs_numbers() -> None:
    lines = TEXT.splitlines()
    bare = "\n".join(line for line in lines if "beta" not in line and "points" not in line)
    without = bare.replace("  - {method/embedding_size: 32}\n", "")
    assert errors_of(without, sampler="cmaes") == [
        "sweep.sampler: cmaes searches two or more numbers but the file has 1 (choices are no"
        " numbers); use tpe"
    ]
    assert space(without, sampler="gp").sweep.sampler == "gp"
