"""Several objectives: refused where only one makes sense, searched, drawn, shown as a front."""

from io import StringIO
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hcl.config import ConfigError
from sweeps.launch.outcome import trial_ends
from sweeps.launch.request import SweepRequest, store_of
from sweeps.launch.run_sweep import run_sweep
from sweeps.records.folder import SweepFolder
from sweeps.reports.pareto import front
from sweeps.reports.report import report
from sweeps.space.search_space import SearchSpace, parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.study.searcher import OptunaSearch

TEXT = """
trial:
  benchmark: {name: split_digits, num_tasks: 2, val_fraction: 0.2}
  target: {hidden_sizes: [20]}
  method: {name: hnet, hidden_sizes: [4], embedding_size: 4, chunk_embedding_size: 4}
  train: {iterations: 20, batch_size: 16}
search:
  method/chunk_size: {type: int, low: 50, high: 800, step: 50}
points_to_evaluate: [{method/chunk_size: 800}, {method/chunk_size: 50}, {method/chunk_size: 100}]
sweep:
  num_trials: 3
  objective: [val/task/average_accuracy, compression_ratio]
  mode: [max, min]
  max_concurrent_trials: 1
"""


def space(text: str = TEXT, **sweep: Any) -> SearchSpace:
    return parse(parse_yaml(text), "tiny").with_sweep(**sweep)


def errors_of(**sweep: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        space(**sweep)
    return caught.value.errors


def search(folder: Path, **sweep: Any) -> OptunaSearch:
    return OptunaSearch(space(**sweep), "tiny", f"sqlite:///{folder / 'study.db'}")


def test_the_file_keeps_its_form() -> None:
    used = space()
    assert used.sweep.objectives == ("val/task/average_accuracy", "compression_ratio")
    assert used.sweep.modes == ("max", "min")
    assert parse(used.to_dict(), "tiny") == used


@pytest.mark.parametrize(
    ("sweep", "error"),
    [
        ({"mode": "max"}, "sweep.mode: give one for each objective but got 1 for 2"),
        ({"mode": ["max"]}, "sweep.mode: give one for each objective but got 1 for 2"),
        ({"mode": ["max", "up"]}, "sweep.mode: must be one of max, min but got"),
        ({"objective": ["compression_ratio"], "mode": ["min"]},
         "sweep.objective: must be text or two different ones but got ['compression_ratio']"),
        ({"early_stopping": "asha", "grace_tasks": 1},
         "sweep.early_stopping: ranks trials by one objective, not several; use none"),
        ({"sampler": "cmaes"}, "sweep.sampler: cmaes has one objective, not several; use"),
    ],
)  # fmt: skip
def test_settings_that_rank_by_one_value_are_refused(sweep: dict[str, Any], error: str) -> None:
    assert any(error in message for message in errors_of(**sweep)), errors_of(**sweep)


def test_each_objective_is_checked() -> None:
    wrong = TEXT.replace("[val/task", "[test/task")
    with pytest.raises(ConfigError, match="would select on test data"):
        space(wrong)
    alone = TEXT.replace("[val/task/average_accuracy, ", "").replace("ratio]", "ratio")
    with pytest.raises(ConfigError, match="'compression_ratio' is not val/SCENARIO/METRIC"):
        space(alone.replace("[max, min]", "min"))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "gp", "grid"])
def test_samplers_take_several_objectives(tmp_path: Path, sampler: str) -> None:
    searcher = search(tmp_path, sampler=sampler, num_trials=13)
    for number in range(13):
        suggestion = searcher.suggest(str(number))
        assert isinstance(suggestion, dict)
        size = suggestion["params"]["method/chunk_size"]
        done = {"values": [size, size], "tasks_learned": 2, "num_tasks": 2}
        searcher.on_trial_result(str(number), {"objective": 1, "tasks_learned": 1, "num_tasks": 2})
        searcher.on_trial_complete(str(number), done)
    trials = searcher.study.trials
    assert all(len(trial.values) == 2 for trial in trials)


def test_a_value_that_is_not_a_number_fails_the_trial(tmp_path: Path) -> None:
    searcher = search(tmp_path)
    searcher.suggest("a")
    nan = {"values": [0.5, float("nan")], "tasks_learned": 2, "num_tasks": 2}
    searcher.on_trial_complete("a", nan)
    assert trial_ends(searcher).failed == {0: "its objective is nan"}


def test_a_front_by_hand() -> None:
    points = [(0.9, 2.0), (0.8, 1.0), (0.7, 1.0), (0.9, 3.0), (0.5, 0.5), (0.8, 1.0)]
    assert front(points, ["max", "min"]) == [0, 1, 4, 5]
    assert front([], ["max", "min"]) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_front_is_optunas(points: list[tuple[int, int]]) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    for point in points:
        study.add_trial(optuna.trial.create_trial(values=[float(v) for v in point]))
    best = [trial.number for trial in study.best_trials]
    assert front(points, ["max", "min"]) == sorted(best)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets to the garbage collector
def test_a_sweep_with_two_objectives_end_to_end(tmp_path: Path) -> None:
    out, folder = StringIO(), SweepFolder(tmp_path, "tiny")
    request = SweepRequest(space(), folder)
    outcome = run_sweep(request, Console(file=out, width=200))
    assert (outcome.exit_code, outcome.num_trials) == (0, 3)
    assert 1 <= len(outcome.best) <= 3 and len(outcome.best[0]["values"]) == 2
    assert "3/3 trials done, 0 running" in out.getvalue()
    assert "best" not in out.getvalue()
    picture = folder.path / "pareto_front.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.glob("artifacts/**/pareto_front.png"))
    text = report("tiny", store_of(folder, None))
    assert f"Pareto front: {len(outcome.best)} of 3 configurations" in text
    assert "max val/task/average_accuracy, min compression_ratio" in text
