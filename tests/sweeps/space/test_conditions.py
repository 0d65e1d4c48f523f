"""Conditional keys: all mistakes reported, handed out in order, resumed, on real studies."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from typer.testing import CliRunner

from hcl.config import ConfigError
from sweeps.cli import app
from sweeps.cluster.gpu_probe import probe_configs
from sweeps.space.search_space import SearchSpace, parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.study.samplers import make_sampler
from sweeps.study.searcher import OptunaSearch

# Written children first: reg_tasks waits for activation, activation for hidden_sizes.
TEXT = """
trial:
  benchmark: {name: split_digits, val_fraction: 0.2}
  method: {name: hnet, reg_tasks: 4}
search:
  method/reg_tasks: {type: int, low: 0, high: 2, when: {method/activation: elu}}
  method/activation:
    {type: choice, values: [relu, elu], when: {method/hidden_sizes: [[10, 10], [25, 25]]}}
  method/hidden_sizes: {type: choice, values: [[], [10, 10], [25, 25]]}
  method/beta: {type: float, low: 0.1, high: 1.0}
points_to_evaluate:
  - {method/hidden_sizes: [], method/beta: 0.3}
  - {method/hidden_sizes: [25, 25], method/activation: elu, method/reg_tasks: 2}
sweep: {num_trials: 16, sampler: random}
"""
SIZES, ACTIVATION, TASKS = "method/hidden_sizes", "method/activation", "method/reg_tasks"
DONE = {"tasks_learned": 5, "num_tasks": 5}


def space(text: str = TEXT, **sweep: Any) -> SearchSpace:
    return parse(parse_yaml(text), name="small").with_sweep(**sweep)


def errors_of(old: str = "", new: str = "", **sweep: Any) -> list[str]:
    assert old in TEXT
    with pytest.raises(ConfigError) as caught:
        space(TEXT.replace(old, new, 1) if old else TEXT, **sweep)
    return caught.value.errors


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def search(folder: Path, used: SearchSpace) -> OptunaSearch:
    return OptunaSearch(used, "small", url(folder))


def ask(searcher: OptunaSearch, trial_id: str) -> dict[str, Any]:
    suggestion = searcher.suggest(trial_id)
    assert isinstance(suggestion, dict)
    return suggestion["params"]


def is_right(params: dict[str, Any]) -> bool:
    """Say whether a trial has exactly the keys whose conditions hold."""
    wanted = {SIZES, "method/beta"}
    if params[SIZES] != "[]":
        wanted.add(ACTIVATION)
        if params.get(ACTIVATION) == "elu":
            wanted.add(TASKS)
    return params.keys() == wanted


# --- what is read ------------------------------------------------------------------------------


def test_a_key_stands_after_those_that_decide_over_it() -> None:
    assert list(space().parameters) == [SIZES, ACTIVATION, TASKS, "method/beta"]
    assert space().conditions.when == {
        TASKS: {ACTIVATION: ("elu",)},
        ACTIVATION: {SIZES: ("10,10", "25,25")},
    }


def test_it_survives_a_round_trip_and_counts_in_the_digest() -> None:
    again = parse(space().to_dict(), "small")
    assert again == space()
    assert again.to_dict()["search"][ACTIVATION]["when"] == {SIZES: [[10, 10], [25, 25]]}
    other = space(TEXT.replace("[[10, 10], [25, 25]]}}", "[[25, 25]]}}"))
    differs = {k for k, v in space().digests().items() if other.digests()[k] != v}
    assert differs == {"search"}


@pytest.mark.parametrize("one", ["[25, 25]", "[[25, 25]]"])
def test_a_list_may_be_the_value_itself(one: str) -> None:
    text = TEXT.replace("[[10, 10], [25, 25]]}}", f"{one}}}}}")
    assert space(text).conditions.when[ACTIVATION] == {SIZES: ("25,25",)}


def test_where_it_does_not_hold_the_fixed_value_or_the_default_does() -> None:
    linear = space().trial_config({SIZES: "[]", "method/beta": 0.5}, seed=1).to_dict()
    assert (linear[TASKS], linear[ACTIVATION]) == (4, "relu")
    deep = {SIZES: "10,10", ACTIVATION: "elu", TASKS: 1, "method/beta": 0.5}
    assert space().trial_config(deep, seed=1).to_dict()[TASKS] == 1


def test_the_example_and_the_gpu_probe_have_every_branch() -> None:
    assert space().example().to_dict()[SIZES] == []
    chosen = {(tuple(c[SIZES]), c[ACTIVATION], c[TASKS])
              for c in (config.to_dict() for config in probe_configs(space()))}  # fmt: skip
    # Both ends, and at both ends every key searched.
    assert {((), "relu", 4), ((10, 10), "elu", 0), ((25, 25), "elu", 2)} <= chosen


# --- what is refused ---------------------------------------------------------------------------

OF_ACTIVATION = "{method/hidden_sizes: [[10, 10], [25, 25]]}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (OF_ACTIVATION, "3", "search.method/activation.when: must be a mapping of other"),
        (OF_ACTIVATION, "{}", "search.method/activation.when: must be a mapping of other"),
        (OF_ACTIVATION, "{method/hiden_sizes: []}", "when.method/hiden_sizes: is not searched; d"),
        (OF_ACTIVATION, "{method/chunk_size: 0}", "when.method/chunk_size: is not searched"),
        (OF_ACTIVATION, "{method/beta: 0.5}", "when.method/beta: is of type float; a condition"),
        ("[10, 10], [25, 25]]}}", "[9]]}}", "when.method/hidden_sizes: [9] is not one of the"),
        ("elu}}", "[elu, tanh]}}", "reg_tasks.when.method/activation: 'tanh' is not one of"),
        ("elu}}", "[]}}", "reg_tasks.when.method/activation: must be a value or a list of values"),
        ("reg_tasks: 4", "reg_tasks: -4", "trial.method/reg_tasks: must be >= 0 but got -4"),
        ("low: 0, high: 2", "low: -2, high: 2", "search.method/reg_tasks.low: must be >= 0"),
        ("relu, elu]", "relu, elu, tanh]", "search.method/activation.values[2]: must be one of"),
        ("reg_tasks: {type", "reg_task: {type", "search.method/reg_task: unknown key"),
        ("reg_tasks: 4", "reg_tasks: 4, activation: tanh", "trial.method/activation: must be one"),
    ],
)
def test_one_mistake_is_named_with_its_key(old: str, new: str, message: str) -> None:
    found = errors_of(old, new)
    assert any(message in error for error in found), found
    # Points that name the key go with it; nothing else cascades.
    assert len([e for e in found if not e.startswith("points_to_evaluate")]) == 1, found


def test_keys_that_depend_on_one_another_are_named_once() -> None:
    when = "method/hidden_sizes: {when: {method/reg_tasks: [0, 1]}, "
    assert errors_of("method/hidden_sizes: {", when)[0] == (
        "search.method/reg_tasks.when: depends on itself (method/reg_tasks -> method/activation ->"
        " method/hidden_sizes -> method/reg_tasks); remove one of these conditions"
    )
    assert any(
        "search.method/activation.when: depends on itself (method/activation -> method/activ" in e
        for e in errors_of(OF_ACTIVATION, "{method/activation: relu}")
    )


def test_a_condition_that_never_holds_is_reported() -> None:
    both = "when: {method/activation: elu, method/hidden_sizes: []}"
    assert errors_of("when: {method/activation: elu}", both)[0] == (
        "search.method/reg_tasks.when: never holds, because no value of method/hidden_sizes meets"
        " all of its conditions; change one of them"
    )


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("method/activation: elu, method/hidden_sizes: []",
         "method/activation: is searched only when method/hidden_sizes is 10,10 or 25,25,"
         " but here it is []"),
        ("method/activation: elu",
         "method/activation: is searched only when method/hidden_sizes is 10,10 or 25,25,"
         " but the point does not give it"),
        ("method/activation: relu, method/hidden_sizes: [10, 10], method/reg_tasks: 1",
         "method/reg_tasks: is searched only when method/activation is elu, but here it is relu"),
    ],
)  # fmt: skip
def test_a_point_gives_what_its_keys_need(point: str, message: str) -> None:
    found = errors_of("method/hidden_sizes: [], method/beta: 0.3", point)
    assert found == [f"points_to_evaluate[0].{message}"]


@pytest.mark.parametrize("sampler", ["grid", "cmaes"])
def test_samplers_that_need_the_same_keys_in_every_trial_are_refused(sampler: str) -> None:
    assert errors_of(sampler=sampler) == [
        f"sweep.sampler: {sampler} searches the same keys in every trial, but method/reg_tasks,"
        " method/activation has a `when`; use tpe or random"
    ]


def test_all_mistakes_are_reported_at_once() -> None:
    text = TEXT.replace("elu}}", "tanh}}").replace("low: 0.1", "low: 7").replace("16", "0")
    with pytest.raises(ConfigError) as caught:
        space(text)
    starts = {error.split(":")[0] for error in caught.value.errors}
    wanted = {"search.method/reg_tasks.when.method/activation", "search.method/beta.low"}
    assert wanted | {"sweep.num_trials"} <= starts


# --- on a real study ---------------------------------------------------------------------------


def test_tpe_models_the_branches_apart() -> None:
    assert make_sampler(space(sampler="tpe"), 0)._group is True  # type: ignore[attr-defined]
    plain = space(
        TEXT.split("search:")[0] + "search:\n  method/beta: {type: int, low: 1, high: 9}"
    )
    assert make_sampler(plain, 0)._group is False  # type: ignore[attr-defined]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "nsga2"])
def test_a_resumed_search_goes_on_as_an_undisturbed_one(tmp_path: Path, sampler: str) -> None:
    used = space(sampler=sampler, num_trials=13)
    asked: list[list[dict[str, Any]]] = []
    for name, kill_every in (("one", 100), ("two", 5)):
        (tmp_path / name).mkdir()
        asked.append([])
        for number in range(used.sweep.num_trials):
            if number % kill_every == 0:
                searcher = search(tmp_path / name, used)
            params = ask(searcher, f"t{number}")
            assert is_right(params)
            searcher.on_trial_complete(f"t{number}", {"objective": params["method/beta"], **DONE})
            asked[-1].append(params)
    assert asked[0] == asked[1]
    assert asked[0][0] == {SIZES: "[]", "method/beta": 0.3}
    assert asked[0][1].items() >= {SIZES: "25,25", ACTIVATION: "elu", TASKS: 2}.items()
    assert len({tuple(sorted(params)) for params in asked[0]}) == 3  # every branch


@pytest.mark.timeout(60)
def test_trials_left_running_are_handed_out_again_with_equal_params(tmp_path: Path) -> None:
    used = space(sampler="tpe")
    first = search(tmp_path, used)
    before = [ask(first, f"a{number}") for number in range(8)]
    again = search(tmp_path, used)  # the first driver was killed
    assert [ask(again, f"b{number}") for number in range(8)] == before
    assert {len(params) for params in before} > {2}
    study = optuna.load_study(study_name="small", storage=url(tmp_path))
    assert [trial.params for trial in study.trials] == before


@pytest.mark.parametrize(("sizes", "keys"), [("[]", 2), ("10,10", 3)])
def test_a_trial_killed_while_it_was_sampled_gets_what_its_branch_needs(
    tmp_path: Path, sizes: str, keys: int
) -> None:
    bare = space(TEXT.split("points")[0])
    study = search(tmp_path, bare).study
    study.enqueue_trial({SIZES: sizes, ACTIVATION: "relu"} if keys > 2 else {SIZES: sizes})
    study.ask().suggest_categorical(SIZES, ["[]", "10,10", "25,25"])
    params = ask(search(tmp_path, bare), "b0")
    assert params[SIZES] == sizes and len(params) == keys and is_right(params)


@pytest.mark.timeout(60)
def test_a_bound_of_compression_is_checked_in_every_branch(tmp_path: Path) -> None:
    def ratio(config: Any) -> float:
        return 0.5 if config.method.hidden_sizes == () else 2.0

    used = space(max_compression_ratio=1.0)
    searcher = OptunaSearch(used, "small", url(tmp_path), ratio=ratio)
    given = [searcher.suggest(f"t{number}") for number in range(16)]
    asked = [suggestion for suggestion in given if isinstance(suggestion, dict)]
    assert asked and all(one["params"][SIZES] == "[]" for one in asked)
    assert 1 in searcher.refused and len(searcher.refused) + len(asked) == 16


@pytest.mark.timeout(60)
def test_the_plan_says_when_a_key_is_searched(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(TEXT)
    done = CliRunner().invoke(app, ["sweep", str(file), "--dry-run", "--storage", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert " when method/hidden_sizes is 10,10 or 25,25\n" in done.output
    assert "trial 0 is given: method/hidden_sizes [], method/beta 0.3\n" in done.output
    assert CliRunner().invoke(app, ["validate", str(file)]).output.startswith(f"{file}: ok, hnet")
