"""The best of a sweep on fresh seeds: the choice, the trainings, the table."""

from io import StringIO
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from rich.console import Console

from hcl.config import ConfigError
from sweeps import tracking
from sweeps.commands.options import parse_seeds
from sweeps.launch import confirm
from sweeps.launch.request import SweepRequest, store_of
from sweeps.launch.run_sweep import run_sweep
from sweeps.records.folder import SweepFolder
from sweeps.space.search_space import SearchSpace, parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.study.study import open_study

TEXT = """
trial:
  benchmark: {name: split_digits, num_tasks: 2, val_fraction: 0.2}
  target: {hidden_sizes: [8]}
  method: {name: finetune}
  train: {iterations: 10, batch_size: 16}
search:
  train/lr: {type: float, low: 1e-4, high: 1.0, log: true}
sweep: {num_trials: 2, seeds: [1, 2], sampler: random}
"""


def space(**sweep: Any) -> SearchSpace:
    return parse(parse_yaml(TEXT), "tiny").with_sweep(**sweep)


def sweep_of(
    storage: Path, trials: list[tuple[float, float, TrialState]], **sweep: Any
) -> SweepFolder:
    """Make a sweep on disk with trials of (train/lr, value, state), none of them trained."""
    folder = SweepFolder(storage, "tiny")
    folder.write_space(space(**sweep).to_dict())
    study = open_study(space(**sweep), "tiny", folder.study_url)
    for lr, value, state in trials:
        values = {"value": value} if state != TrialState.FAIL else {}
        study.add_trial(
            create_trial(
                params={"train/lr": lr},
                distributions=space().distributions(),
                state=state,
                **values,  # type: ignore[arg-type]
            )
        )
    return folder


def test_the_best_complete_trials_are_chosen_each_configuration_once(tmp_path: Path) -> None:
    done, pruned, failed = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
    trials = [(0.1, 0.7, done), (0.2, 0.99, pruned), (0.3, 0.9, done), (0.3, 0.9, done),
              (0.4, 0.0, failed), (0.5, 0.8, done)]  # fmt: skip
    folder = sweep_of(tmp_path, trials)
    chosen = confirm.best_of(folder, confirm.read_space(folder), 2, folder.study_url)
    assert [(one.number, one.values) for one in chosen] == [(2, (0.9,)), (5, (0.8,))]
    lowest = space(mode="min", objective="val/task/forgetting")
    chosen = confirm.best_of(folder, lowest, 9, folder.study_url)
    assert [one.number for one in chosen] == [0, 5, 2]


def test_nothing_to_confirm_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no sweep 'none' in .* to confirm"):
        confirm.read_space(SweepFolder(tmp_path, "none"))
    folder = sweep_of(tmp_path, [(0.1, 0.9, TrialState.PRUNED)])
    with pytest.raises(ConfigError, match="no trial of sweep 'tiny' has learned all its tasks"):
        confirm.best_of(folder, space(), 1, folder.study_url)
    folder.write_info(study_url="postgresql://me:***@db/hcl")
    with pytest.raises(ConfigError, match="give its --study-url, passwords are not kept"):
        confirm.searched_in(folder, None)


def test_seeds_of_the_search_are_refused() -> None:
    confirm.check_seeds(space(), [101, 102])
    with pytest.raises(ConfigError, match="the search used 2, which would confirm its luck"):
        confirm.check_seeds(space(), [2, 3])
    with pytest.raises(ConfigError, match="must be different numbers"):
        confirm.check_seeds(space(), [7, 7])


def test_seeds_as_a_range_or_a_list() -> None:
    assert parse_seeds("101..105") == [101, 102, 103, 104, 105]
    assert parse_seeds("7") == [7] and parse_seeds("101,103") == [101, 103]
    for text in ("105..101", "1..", "..5", "1..x", "1..2..3", "0..99999"):
        with pytest.raises(ConfigError, match="give a range from low to high"):
            parse_seeds(text)
    with pytest.raises(ConfigError, match="give whole numbers"):
        parse_seeds("a,b")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets to the garbage collector
def test_a_sweep_is_confirmed_end_to_end(tmp_path: Path) -> None:
    folder, used = SweepFolder(tmp_path, "tiny"), space()
    quiet = Console(file=StringIO())
    request = SweepRequest(used, folder)
    outcome = run_sweep(request, quiet)
    store = store_of(folder, None)
    chosen = confirm.best_of(folder, confirm.read_space(folder), 1, folder.study_url)
    assert chosen[0].number == outcome.best[0]["number"]
    table, failed = confirm.confirm(request, chosen, [101, 102], quiet)
    assert failed == 0 and len(table.rows) == 1
    assert [name.partition(", ")[2] for name in table.columns[2:5]] == [
        "fresh seeds", "fresh seeds", "search"
    ]  # fmt: skip

    frame = tracking.runs_frame(store, "tiny")
    confirmed = frame[frame["tags.phase"] == "confirm"]
    assert len(frame) == 6 and sorted(confirmed["seed"]) == [101, 102]
    _, number, validated, tested, search, *_ = table.rows[0]
    assert number == str(chosen[0].number)
    assert search.mean == pytest.approx(100 * chosen[0].values[0]) and search.n == 2
    for cell, split in ((validated, "val"), (tested, "test")):
        values = confirmed[f"{split}/task/average_accuracy"]
        assert cell.mean == pytest.approx(100 * values.mean()) and cell.n == 2
        assert cell.sem == pytest.approx(100 * values.sem())
    parents = {tracking.database.connect(store).get_run(r).data.tags["mlflow.parentRunId"]
               for r in confirmed["run_id"]}  # fmt: skip
    assert parents == {folder.read_info()["parent_run_id"]}
    assert len(optuna.load_study(study_name="tiny", storage=folder.study_url).trials) == 2
