"""Trials stopped at task boundaries by Optuna's pruners: for good, and counted apart."""

from io import StringIO
from pathlib import Path
from typing import Any

import optuna
import pytest
from journals import start_fields
from optuna.trial import TrialState
from rich.console import Console

from hcl.config import ConfigError
from sweeps import tracking
from sweeps.cluster.progress import Counts, Size
from sweeps.launch.outcome import trial_ends
from sweeps.launch.request import SweepRequest, store_of
from sweeps.launch.run_sweep import run_sweep
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.records.trial_ends import note_death, note_stop
from sweeps.reports.report import report
from sweeps.space.search_space import SearchSpace, parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.study.pruners import make_pruner
from sweeps.study.searcher import OptunaSearch

TEXT = """
trial:
  benchmark: {name: split_digits, num_tasks: 5, val_fraction: 0.2}
  target: {hidden_sizes: [8]}
  method: {name: hnet, hidden_sizes: [4], chunk_size: 100, embedding_size: 4}
  train: {iterations: 30, batch_size: 16}
search:
  method/beta: {type: float, low: 1e-4, high: 1.0, log: true}
  train/lr: {type: float, low: 1e-9, high: 1.0, log: true}
points_to_evaluate: [{train/lr: 0.01}, {train/lr: 1e-9}, {train/lr: 1e-8}]
sweep: {num_trials: 3, sampler: random, max_concurrent_trials: 1, early_stopping: RULE}
"""


def space(rule: str = "asha", text: str = TEXT, **sweep: Any) -> SearchSpace:
    return parse(parse_yaml(text.replace("RULE", rule)), "tiny").with_sweep(**sweep)


def search(folder: Path, used: SearchSpace) -> OptunaSearch:
    return OptunaSearch(used, "tiny", f"sqlite:///{folder / 'study.db'}")


def learn(searcher: OptunaSearch, trial_id: str, values: list[float]) -> int:
    """Report values as Ray would; return the number of tasks after which the trial ended."""
    assert searcher.suggest(trial_id)
    for learned, value in enumerate(values, start=1):
        row = {"objective": value, "tasks_learned": learned, "num_tasks": 5}
        if learned == 5 or searcher.should_stop(trial_id, row):
            searcher.on_trial_complete(trial_id, row)
            return learned
    raise AssertionError("not reached")


FALLING = [1.0, 0.9, 0.8, 0.7, 0.6]
WORSE = [1.0, 0.8, 0.7, 0.6, 0.5]
BETTER = [0.9, 0.9, 0.9, 0.8, 0.8]


def test_asha_halves_after_the_grace_tasks(tmp_path: Path) -> None:
    searcher = search(tmp_path, space("asha", num_trials=9))
    ends = [learn(searcher, str(n), v) for n, v in enumerate([FALLING, WORSE, BETTER, WORSE])]
    assert ends == [5, 2, 5, 2]  # after one task WORSE leads, but the pruner is not asked so early
    trials = searcher.study.trials
    assert [t.state for t in trials[:4]] == [
        TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE, TrialState.PRUNED,
    ]  # fmt: skip
    assert trials[1].intermediate_values == {1: 1.0, 2: 0.8}
    ended = trial_ends(searcher)
    assert [trial["number"] for trial in ended.best] == [2, 0] and ended.stopped == [1, 3]


def test_the_median_rule_compares_equal_numbers_of_tasks(tmp_path: Path) -> None:
    searcher = search(tmp_path, space("median", num_trials=9, grace_tasks=3))
    for number in range(4):  # the first four are never stopped
        assert learn(searcher, str(number), WORSE if number % 2 else FALLING) == 5
    # Best over its steps (1.0) it is above every median; at the third task it is not.
    assert learn(searcher, "worse", WORSE) == 3
    assert learn(searcher, "better", BETTER) == 5


def test_a_minimized_objective_is_stopped_from_above() -> None:
    study = optuna.create_study(direction="minimize")
    for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.0):
        study.ask().report(value, 2)
    stops = [make_pruner(space("median").sweep).prune(study, trial) for trial in study.trials]
    assert stops == [False, False, True, True, True, False]


def test_without_early_stopping_nothing_is_stopped(tmp_path: Path) -> None:
    searcher = search(tmp_path, space('"none"', num_trials=9))
    assert [learn(searcher, str(n), v) for n, v in enumerate([BETTER, *[WORSE] * 6])] == [5] * 7


def test_a_stopped_trial_is_never_handed_out_again(tmp_path: Path) -> None:
    used = space("asha")
    searcher = search(tmp_path, used)
    learn(searcher, "a", FALLING)
    searcher.suggest("b")
    assert not searcher.should_stop("b", {"objective": 1, "tasks_learned": 1, "num_tasks": 5})
    assert searcher.should_stop("b", {"objective": 0.1, "tasks_learned": 2, "num_tasks": 5})
    again = search(tmp_path, used)  # killed before Ray reports that the trial is over
    assert again.remaining() == 1
    suggestion = again.suggest("c")
    assert suggestion and suggestion["number"] == 2


def test_failures_and_the_last_task_stop_nothing(tmp_path: Path) -> None:
    searcher = search(tmp_path, space("asha"))
    learn(searcher, "a", FALLING)
    searcher.suggest("b")
    low = {"objective": 0.0, "num_tasks": 5}
    assert not searcher.should_stop("b", {**low, "tasks_learned": 5})
    assert not searcher.should_stop("b", {**low, "tasks_learned": 2, "failure": "nan"})
    nothing = {"objective": float("nan"), "tasks_learned": 3, "num_tasks": 5}
    assert not searcher.should_stop("b", nothing)
    assert not searcher.should_stop("never asked for", {**low, "tasks_learned": 3})


def test_settings_that_stop_nothing_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        space("asha", grace_tasks=5)
    assert caught.value.errors == [
        "sweep.grace_tasks: must be less than the 5 tasks, or no trial can be stopped early, but"
        " got 5; use at most 4"
    ]
    with pytest.raises(ConfigError, match="forgetting is known only at the end of a trial; use"):
        space("median", objective="val/task/forgetting", mode="min")


def test_a_stopped_trials_journal_ends_once(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "tiny")
    for seed, last in ((1, "task"), (2, "end")):
        journal = Journal(folder.seed_folder(3, seed))
        journal.append("start", **start_fields(f"tiny/0003/seed_{seed}"))
        journal.append(last, tasks_learned=2, metrics={})
    for _ in range(2):
        assert len(note_stop(folder, 3)) == 2
        note_death(folder, 3, "died")
    kinds = [[r["kind"] for r in Journal(folder.seed_folder(3, s)).records()] for s in (1, 2)]
    assert kinds == [["start", "task", "stopped"], ["start", "end"]]


def test_progress_counts_them_apart() -> None:
    counts = Counts(total=4, size=Size(5), mode="max", started=0.0)
    counts.running = {0: (5,), 1: (2,)}
    counts.end(0, 0.5)
    counts.stop(1)
    line = "1/4 trials done, best 0.5000 (trial 0), 1 stopped early, 0 running"
    assert counts.line(10.0) == line and counts.ended == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets to the garbage collector
def test_a_sweep_with_early_stopping_end_to_end(tmp_path: Path) -> None:
    out = StringIO()
    request = SweepRequest(space("asha"), SweepFolder(tmp_path, "tiny"))
    outcome = run_sweep(request, Console(file=out, width=200))
    assert (outcome.exit_code, outcome.num_trials, outcome.stopped) == (0, 3, 2)
    assert [trial["number"] for trial in outcome.best] == [0]
    assert "2 stopped early, 0 running" in out.getvalue()

    store = store_of(request.folder, None)
    frame = tracking.runs_frame(store, "tiny").set_index("tags.trial")
    assert list(frame["status"]) == ["FINISHED", "KILLED", "KILLED"]
    assert list(frame["tags.stopped_early"].fillna("")) == ["", "after 2 tasks", "after 2 tasks"]
    assert list(frame["tasks_learned"]) == [5, 2, 2]
    text = report("tiny", store)
    assert (
        "left out because the sweep stopped them early: 2" in text
        and "Best 1 of 1 configurations" in text
    )

    again = run_sweep(request, Console(file=StringIO()))  # nothing is left to do
    assert again.num_trials == 3 and len(Journal(request.folder.seed_folder(1, 1)).records()) == 4
