"""The search on a real Optuna study in sqlite: resumed, guarded, each end written once."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from ray.tune.search import Searcher
from sqlalchemy import Engine, event

from hcl.config import ConfigError
from sweeps.records.disk_full import is_full
from sweeps.space.search_space import SearchSpace, parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.study import searcher as searcher_module
from sweeps.study.searcher import OptunaSearch
from sweeps.study.study import open_study

TEXT = """
trial:
  benchmark: {name: split_digits, val_fraction: 0.2}
  method: {name: hnet}
search:
  method/beta: {type: float, low: 1e-4, high: 1.0, log: true}
  method/embedding_size: {type: int, low: 8, high: 128, step: 8}
  method/hidden_sizes: {type: choice, values: [[10, 10], [25, 25], []]}
points_to_evaluate:
  - {method/beta: 0.01, method/embedding_size: 128, method/hidden_sizes: [25, 25]}
  - {method/beta: 0.5}
sweep: {num_trials: 4, sampler: random}
"""


def space(text: str = TEXT, **sweep: Any) -> SearchSpace:
    return parse(parse_yaml(text), name="small").with_sweep(**sweep)


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def search(folder: Path, used: SearchSpace | None = None, **kwargs: Any) -> OptunaSearch:
    return OptunaSearch(used or space(), "small", url(folder), **kwargs)


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="small", storage=url(folder)).trials


def ask(searcher: OptunaSearch, trial_id: str) -> dict[str, Any]:
    suggestion = searcher.suggest(trial_id)
    assert isinstance(suggestion, dict)
    return suggestion


def row(objective: Any, learned: int, of: int = 5, **more: Any) -> dict[str, Any]:
    return {"objective": objective, "tasks_learned": learned, "num_tasks": of, **more}


def test_points_come_first_and_once_per_study(tmp_path: Path) -> None:
    first = search(tmp_path)
    config = ask(first, "a")
    assert config == {
        "number": 0,
        "params": {
            "method/beta": 0.01,
            "method/embedding_size": 128,
            "method/hidden_sizes": "25,25",
        },
    }
    partial = ask(first, "b")
    assert partial["number"] == 1 and partial["params"]["method/beta"] == 0.5
    assert set(partial["params"]) == set(config["params"])
    again = search(tmp_path)
    assert [ask(again, t)["number"] for t in "cdef"] == [0, 1, 2, 3]
    assert len(trials(tmp_path)) == 4


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes", "nsga2"])
@pytest.mark.parametrize("num_chosen", [1, 2])
def test_a_driver_killed_between_two_values_changes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, num_chosen: int
) -> None:
    used = space(sampler=sampler)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = search(tmp_path / "whole", used)
    expected = [ask(whole, name) for name in "abcd"]

    killed = search(tmp_path / "killed", used)
    assert [ask(killed, name) for name in "abc"] == expected[:3]
    choose, chosen = searcher_module._suggest, iter(range(num_chosen))

    def until_killed(*args: Any) -> None:
        if next(chosen, None) is None:
            raise KeyboardInterrupt
        choose(*args)

    with monkeypatch.context() as patch:
        patch.setattr(searcher_module, "_suggest", until_killed)
        with pytest.raises(KeyboardInterrupt):
            killed.suggest("d")
    assert len(trials(tmp_path / "killed")[3].params) == num_chosen
    again = search(tmp_path / "killed", used)
    assert [ask(again, name) for name in "efgh"] == expected


def test_a_trial_that_is_put_back_is_the_next_one(tmp_path: Path) -> None:
    used = search(tmp_path, space(num_trials=2))
    first = ask(used, "a")
    used.on_trial_result("a", row(0.9, 1))
    used.put_back("a")
    used.on_trial_complete("a", error=True)  # Ray says so of every trial that it gives up
    assert used.remaining() == 2 and trials(tmp_path)[0].state == TrialState.WAITING
    assert ask(used, "b") == first
    used.on_trial_result("b", row(0.9, 1))  # the study has it, and takes it once
    used.on_trial_complete("b", row(0.8, 5, values=[0.8]))
    assert ask(used, "c")["number"] == 1
    assert used.suggest("d") == Searcher.FINISHED
    (ended, _) = trials(tmp_path)
    assert (ended.state, ended.value) == (TrialState.COMPLETE, 0.8)
    assert sorted(ended.intermediate_values) == [1, 5] and "reason" not in ended.user_attrs


def test_points_that_a_kill_left_out_are_queued_at_the_next_start(tmp_path: Path) -> None:
    bare = space().to_dict()
    study = open_study(parse(bare, "small"), "small", url(tmp_path))
    assert len(study.trials) == 2
    # A study that was killed after its first point: made by hand.
    other = tmp_path / "other"
    other.mkdir()
    half = optuna.create_study(study_name="small", storage=url(other), direction="maximize")
    half.set_user_attr("digests", space().digests())
    half.enqueue_trial(space().stored_points()[0], user_attrs={"point": 0})
    assert len(open_study(space(), "small", url(other)).trials) == 2


def test_it_ends_after_num_trials_and_more_can_be_asked_for_later(tmp_path: Path) -> None:
    first = search(tmp_path)
    assert first.remaining() == 4
    for number in range(4):
        assert ask(first, f"t{number}")["number"] == number
        first.on_trial_complete(f"t{number}", row(0.5, 5))
    assert first.suggest("t4") == Searcher.FINISHED
    assert search(tmp_path).remaining() == 0
    assert search(tmp_path, space(num_trials=6)).remaining() == 2


def test_trials_left_running_are_handed_out_again_with_their_values(tmp_path: Path) -> None:
    first = search(tmp_path)
    before = [ask(first, f"a{number}") for number in range(3)]
    first.on_trial_result("a2", row(0.9, 1))
    first.on_trial_complete("a1", row(0.7, 5))
    again = search(tmp_path)  # the first driver was killed
    assert again.remaining() == 3
    assert [ask(again, "b0"), ask(again, "b2")] == [before[0], before[2]]
    again.on_trial_result("b2", row(0.8, 1))  # reported before the kill: kept as it was
    again.on_trial_result("b2", row(0.7, 2))
    again.on_trial_complete("b2", row(0.6, 5))
    assert ask(again, "b3")["number"] == 3
    found = trials(tmp_path)
    assert [t.state for t in found] == [
        TrialState.RUNNING,
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]
    assert found[2].intermediate_values == {1: 0.9, 2: 0.7, 5: 0.6}
    assert found[2].value == 0.6
    assert found[2].user_attrs["ray_trial_id"] == "b2"


def test_a_trial_killed_while_it_was_sampled_gets_its_other_values(tmp_path: Path) -> None:
    study = open_study(parse(parse_yaml(TEXT.split("points")[0]), "small"), "small", url(tmp_path))
    trial = study.ask()
    trial.suggest_float("method/beta", 1e-4, 1.0, log=True)
    used = parse(parse_yaml(TEXT.split("points")[0]), "small")
    again = ask(search(tmp_path, used), "b0")
    assert again["number"] == 0
    assert again["params"]["method/beta"] == trial.params["method/beta"]
    assert len(again["params"]) == 3


def test_a_driver_killed_before_it_hands_them_out_loses_none(tmp_path: Path) -> None:
    first = search(tmp_path)
    before = [ask(first, f"a{number}") for number in range(3)]
    first.study.ask()  # killed before it had any value
    for _ in range(2):  # killed at once, twice
        assert search(tmp_path).remaining() == 4
    again = search(tmp_path, space(num_trials=1))  # what was begun is ended, whatever the limit
    assert again.remaining() == 4
    assert [ask(again, f"b{number}") for number in range(3)] == before
    assert ask(again, "b3")["number"] == 3
    assert again.suggest("b4") == Searcher.FINISHED
    assert [t.state for t in trials(tmp_path)] == [TrialState.RUNNING] * 4


def test_each_trial_carries_rays_id_and_the_configs_digest(tmp_path: Path) -> None:
    searcher = search(tmp_path)
    params = ask(searcher, "ray7")["params"]
    attrs = trials(tmp_path)[0].user_attrs
    assert attrs["ray_trial_id"] == "ray7"
    config = space().trial_config(params, seed=3)
    assert attrs["config_id"] == config.digest(without_seed=True)


def test_the_final_value_is_complete_and_later_calls_change_nothing(tmp_path: Path) -> None:
    searcher = search(tmp_path)
    ask(searcher, "a")
    for learned in range(1, 6):
        searcher.on_trial_result("a", row(1 - learned / 10, learned))
    searcher.on_trial_complete("a", row(0.5, 5))
    searcher.on_trial_complete("a", row(0.1, 5))
    searcher.on_trial_complete("a", error=True)
    searcher.on_trial_result("a", row(0.1, 5))
    searcher.on_trial_complete("never asked for", row(0.5, 5))
    searcher.on_trial_result("never asked for", row(0.5, 5))
    done = trials(tmp_path)[0]
    assert (done.state, done.value) == (TrialState.COMPLETE, 0.5)
    assert done.intermediate_values == {1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6, 5: 0.5}
    assert "reason" not in done.user_attrs


def test_a_trial_stopped_early_is_pruned_not_complete(tmp_path: Path) -> None:
    searcher = search(tmp_path)
    ask(searcher, "a")
    searcher.on_trial_result("a", row(0.99, 1))
    # The result that stops a trial goes to `on_trial_complete` alone.
    searcher.on_trial_complete("a", row(0.98, 2, done=True))
    done = trials(tmp_path)[0]
    assert done.state == TrialState.PRUNED
    assert done.intermediate_values == {1: 0.99, 2: 0.98}
    study = optuna.load_study(study_name="small", storage=url(tmp_path))
    assert study.get_trials(states=(TrialState.COMPLETE,)) == []


@pytest.mark.parametrize(
    ("result", "error", "reason"),
    [
        (row(math.nan, 5), False, "its objective is nan"),
        (row(math.inf, 5), False, "its objective is inf"),
        (row(None, 5), False, "its objective is None"),
        ({"tasks_learned": 5, "num_tasks": 5}, False, "its objective is None"),
        (None, False, "it ended without a result"),
        ({"done": True}, False, "it ended without a result"),
        (row(0.9, 2, failure="loss is nan at task 2"), False, "loss is nan at task 2"),
        (None, True, "its process died (killed, out of memory or a lost node)"),
    ],
)
def test_a_trial_without_a_value_fails_with_its_reason(
    tmp_path: Path, result: dict[str, Any] | None, error: bool, reason: str
) -> None:
    searcher = search(tmp_path)
    ask(searcher, "a")
    if result:
        searcher.on_trial_result("a", result)
    searcher.on_trial_complete("a", result, error=error)
    failed = trials(tmp_path)[0]
    assert failed.state == TrialState.FAIL
    assert failed.user_attrs["reason"] == reason
    assert search(tmp_path).remaining() == 3  # it counts as tried


def test_an_event_costs_the_same_however_many_trials_there_are(tmp_path: Path) -> None:
    searcher = search(tmp_path, space(num_trials=30))
    asked: list[str] = []

    @event.listens_for(Engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        asked.append(statement)

    costs = []
    for number in range(24):
        ask(searcher, f"t{number}")
        if number in (12, 23):  # TPE has begun: before, nobody read the trial as it was asked for
            del asked[:]
            searcher.on_trial_result(f"t{number}", row(0.9, 1))
            assert not searcher.should_stop(f"t{number}", row(0.8, 2))
            searcher.on_trial_complete(f"t{number}", row(0.7, 5))
            costs.append(len(asked))
    event.remove(Engine, "before_cursor_execute", note)
    assert costs[0] == costs[1] > 0
    assert trials(tmp_path)[23].intermediate_values == {1: 0.9, 2: 0.8, 5: 0.7}
    assert len(searcher._live) == len(searcher._reported) == 22


def test_a_study_that_is_full_ends_the_run_and_fails_no_trial(tmp_path: Path) -> None:
    searcher, ended = search(tmp_path), []
    ask(searcher, "a")

    @event.listens_for(Engine, "before_cursor_execute")
    def leave_no_space(connection: Any, cursor: Any, *more: Any) -> None:
        cursor.connection.execute("PRAGMA max_page_count = 1")  # that is, as large as it is now

    failure = {"failure": "x" * 100_000, "tasks_learned": 0, "num_tasks": 5}
    try:
        with pytest.raises(StorageInternalError):
            searcher.on_trial_complete("a", failure)
        searcher.on_broken = lambda: ended.append("a")
        searcher.on_trial_complete("a", failure)
    finally:
        event.remove(Engine, "before_cursor_execute", leave_no_space)
    assert ended == ["a"] and searcher.error is not None and is_full(searcher.error)
    assert trials(tmp_path)[0].state == TrialState.RUNNING
    assert ask(search(tmp_path), "b")["number"] == 0


def test_the_driver_can_explain_an_error(tmp_path: Path) -> None:
    searcher = search(tmp_path, explain=lambda number: f"disk full in trial {number}")
    ask(searcher, "a")
    searcher.on_trial_complete("a", error=True)
    assert trials(tmp_path)[0].user_attrs["reason"] == "disk full in trial 0"


def test_values_that_make_no_valid_trial_fail_and_the_next_is_tried(tmp_path: Path) -> None:
    class Refusing(SearchSpace):
        def trial_config(self, params: Any, seed: int) -> Any:
            if params["method/beta"] == 0.01:
                raise ConfigError("method/embedding_size: too large for this chunk size")
            return super().trial_config(params, seed)

    base = space()
    refusing = Refusing(**{name: getattr(base, name) for name in base.__dataclass_fields__})
    assert ask(search(tmp_path, refusing), "a")["number"] == 1
    failed = trials(tmp_path)[0]
    assert failed.state == TrialState.FAIL
    assert "too large for this chunk size" in failed.user_attrs["reason"]


def test_a_changed_search_is_refused_with_the_part_that_changed(tmp_path: Path) -> None:
    search(tmp_path)
    wider = space(TEXT.replace("high: 1.0", "high: 2.0"))
    with pytest.raises(ConfigError) as caught:
        search(tmp_path, wider)
    assert len(caught.value.errors) == 1
    assert "'small' was started with another search, so its trials" in str(caught.value)
    with pytest.raises(ConfigError, match="another sweep.seeds"):
        search(tmp_path, space(seeds=[1, 2]))
    search(tmp_path, space(num_trials=9, max_concurrent_trials=3))


def test_the_study_records_what_made_it(tmp_path: Path) -> None:
    attrs = open_study(space(), "small", url(tmp_path)).user_attrs
    assert attrs == {"digests": space().digests(), "optuna_versions": [optuna.__version__]}


def test_someone_elses_study_is_refused(tmp_path: Path) -> None:
    optuna.create_study(study_name="small", storage=url(tmp_path)).ask()
    with pytest.raises(ConfigError, match="was not made by hcl; choose another --name"):
        search(tmp_path)


def test_a_database_that_does_not_open_is_one_line_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened: unable to open database file"):
        open_study(space(), "small", f"sqlite:///{tmp_path}/no/such/folder/study.db")
    with pytest.raises(ConfigError) as caught:
        open_study(space(), "small", "mysql://me:secret@nowhere/db")
    assert "secret" not in str(caught.value) and "mysql://***@nowhere/db" in str(caught.value)


def test_minimized_objectives_make_a_minimizing_study(tmp_path: Path) -> None:
    used = space(objective="val/task/forgetting", mode="min")
    study = open_study(used, "small", url(tmp_path))
    assert study.direction == optuna.study.StudyDirection.MINIMIZE


def test_rays_pickle_of_the_searcher_holds_no_database(tmp_path: Path) -> None:
    import ray.cloudpickle

    copy = ray.cloudpickle.loads(ray.cloudpickle.dumps(search(tmp_path)))
    assert copy.study is None
