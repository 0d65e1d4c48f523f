"""Search space files: all errors at once with their paths, and a contract over every file."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from hcl.config import ConfigError, TrialConfig
from sweeps.space.search_space import SearchSpace, load, parse
from sweeps.space.yaml_file import load_yaml, parse_yaml

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "search_spaces").glob("*.yaml"))
TRIALS = sorted((ROOT / "trials").glob("*.yaml"))

GOOD = """
description: a small one
trial:
  benchmark: {name: split_digits, val_fraction: 0.2}
  method: {name: hnet}
search:
  method/beta: {type: float, low: 1e-4, high: 1.0, log: true}
  method/embedding_size: {type: int, low: 8, high: 128, step: 8}
  method/hidden_sizes: {type: choice, values: [[10, 10], [25, 25], []]}
points_to_evaluate:
  - {method/beta: 0.01, method/hidden_sizes: [10, 10]}
sweep: {num_trials: 3}
"""


def space(text: str = GOOD) -> SearchSpace:
    return parse(parse_yaml(text), name="small")


def errors_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        space(text)
    return caught.value.errors


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


# --- contract over every file ------------------------------------------------------------------


def test_there_are_search_spaces() -> None:
    assert len(FILES) >= 10 and len(TRIALS) >= 4


@pytest.mark.parametrize("path", TRIALS, ids=lambda path: path.stem)
def test_every_single_trial_is_valid(path: Path) -> None:
    config = TrialConfig.from_dict(load_yaml(path))
    assert config.benchmark.name in path.stem


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_loads_and_its_trials_are_valid(path: Path) -> None:
    loaded = load(path)
    assert loaded.name == path.stem
    assert loaded.description and loaded.points
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    for point in loaded.stored_points():
        study.enqueue_trial(point)
    for number in range(len(loaded.points) + 5):
        trial = study.ask(loaded.distributions())
        params = loaded.conditions.searched(trial.params)
        config = loaded.trial_config(params, seed=1)
        assert isinstance(config, TrialConfig)
        if number < len(loaded.points):
            flat = config.to_dict()
            for key, value in loaded.points[number].items():
                assert flat[key] == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_survives_a_round_trip(path: Path) -> None:
    loaded = load(path)
    again = parse(loaded.to_dict(), path.stem)
    assert again == loaded
    assert again.digests() == loaded.digests()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_file_selects_on_test_data(path: Path) -> None:
    assert load(path).sweep.objective.startswith("val/")


# --- what is read ------------------------------------------------------------------------------


def test_distributions_include_both_ends_and_keep_the_step() -> None:
    found = space().distributions()
    assert found["method/embedding_size"] == optuna.distributions.IntDistribution(8, 128, step=8)
    assert found["method/beta"] == optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)
    choices = optuna.distributions.CategoricalDistribution(["10,10", "25,25", "[]"])
    assert found["method/hidden_sizes"] == choices


def test_upper_bound_of_an_integer_is_reached() -> None:
    distribution = space().distributions()["method/embedding_size"]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = {study.ask({"n": distribution}).params["n"] for _ in range(200)}
    assert seen == set(range(8, 129, 8))


def test_a_list_is_stored_as_text_and_read_back_as_a_list() -> None:
    params = {"method/beta": 0.5, "method/embedding_size": 8, "method/hidden_sizes": "25,25"}
    config = space().trial_config(params, seed=7)
    assert config.to_dict()["method/hidden_sizes"] == [25, 25]
    assert config.seed == 7
    empty = space().trial_config({**params, "method/hidden_sizes": "[]"}, seed=7)
    assert empty.to_dict()["method/hidden_sizes"] == []


def test_nested_flat_and_yaml_1_2_values_are_understood() -> None:
    read = parse_yaml("a: 1e-3\nb: off\nc: true\nd: 1_000\ne: 2.5e+3\nf: 2001-01-01\ng: -5")
    assert read == {
        "a": 1e-3,
        "b": "off",
        "c": True,
        "d": 1000,
        "e": 2500.0,
        "f": "2001-01-01",
        "g": -5,
    }
    nested = changed("method: {name: hnet}", "method: {name: hnet, lookahead: off}")
    assert space(nested).constants["method/lookahead"] == "off"
    flat = changed("method: {name: hnet}", "method/name: hnet")
    assert space(flat).constants == space().constants


def test_digests_name_the_part_that_changed() -> None:
    before = space().digests()
    after = space(changed("high: 1.0", "high: 2.0")).digests()
    assert {part for part in before if before[part] != after[part]} == {"search"}
    longer = space(changed("num_trials: 3", "num_trials: 30")).digests()
    assert longer == before


def test_command_line_settings_are_checked_too() -> None:
    assert space().with_sweep(num_trials=5, seeds=[1, 2]).sweep.seeds == (1, 2)
    assert space().with_sweep(num_trials=None) == space()
    with pytest.raises(ConfigError, match="sweep.num_trials: must be >= 1 but got 0"):
        space().with_sweep(num_trials=0)


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("description:", "descripton:", "descripton: unknown key; did you mean description?"),
        ("a small one", "[1]", "description: must be one line of text but got [1]"),
        ("name: hnet", "name: hnte", "trial.method/name: unknown method 'hnte'"),
        ("name: hnet", "name: hnet, betta: 1", "trial.method/betta: unknown key"),
        ("name: hnet", "activation: elu", "trial.method/name: is missing"),
        ("name: hnet", "name: hnet, beta: 1", "search.method/beta: is also fixed under trial"),
        ("name: hnet}", "name: hnet}\n  seed: 1", "trial.seed: seeds belong to every trial"),
        ("val_fraction: 0.2", "val_fraction: 2", "trial.benchmark/val_fraction: must be < 1"),
        ("val_fraction: 0.2", "val_fraction: .nan", "trial.benchmark/val_fraction: must be fini"),
        ("val_fraction: 0.2", "num_tasks: 5", "needs validation data; set trial.benchmark/val_f"),
        ("val_fraction: 0.2", "num_tasks: 9", "trial.benchmark/num_tasks: split_digits has 10"),
        ("method/beta: {", "method/betta: {", "search.method/betta: unknown key; did you mean"),
        ("method/beta: {", "seed: {", "search.seed: seeds belong to every trial"),
        ("method/beta: {", "scenario: {", "search.scenario: decides what is measured"),
        ("type: float", "type: real", "search.method/beta.type: must be float, int or choice"),
        ("type: float, ", "", "search.method/beta.type: is missing"),
        ("low: 1e-4", "low: '1e-4'", "search.method/beta.low: must be a number but got '1e-4'"),
        ("low: 1e-4", "low: .nan", "search.method/beta.low: must be finite but got nan"),
        ("low: 1e-4", "low: -.inf", "search.method/beta.low: must be finite but got -inf"),
        ("low: 1e-4", "low: 0", "search.method/beta.low: must be > 0 because log is true"),
        ("low: 1e-4", "low: 3.0", "search.method/beta.low: 3.0 is above high 1.0; swap them"),
        ("low: 1e-4", "low: 1.0", "search.method/beta.low: equals high (1.0)"),
        ("low: 1e-4, ", "", "search.method/beta.low: is missing"),
        ("log: true", "log: true, step: 0.1", "search.method/beta.step: Optuna cannot combine"),
        ("log: true", "logg: true", "search.method/beta.logg: unknown key; did you mean log?"),
        ("low: 8,", "low: 0,", "search.method/embedding_size.low: must be >= 1 but got 0"),
        ("low: 8,", "low: 8.5,", "search.method/embedding_size.low: must be a whole number"),
        ("high: 128,", "high: 130,", "search.method/embedding_size.high: 130 is not low plus a"),
        ("step: 8", "step: 0", "search.method/embedding_size.step: must be > 0 but got 0"),
        ("[25, 25]", "[0]", "search.method/hidden_sizes.values[1]: must be >= 1 but got 0"),
        ("[25, 25]", "[10, 10]", "search.method/hidden_sizes.values[1]: [10, 10] is given twice"),
        ("[25, 25]", "{a: 1}", "search.method/hidden_sizes.values[1]: must be text, a number"),
        ("[[10, 10], [25, 25], []]", "3", "search.method/hidden_sizes.values: must be a list of"),
        ("method/beta: 0.01", "method/beta: 7", "[0].method/beta: 7 is outside the range 0.0001"),
        ("method/beta: 0.01", "method/beta: .nan", "[0].method/beta: nan is outside the range"),
        ("method/beta: 0.01", "method/beta: big", "[0].method/beta: must be a number but got"),
        ("method/beta: 0.01", "train/lr: 0.01", "[0].train/lr: is not searched"),
        ("{method/beta: 0.01, ", "{method/embedding_size: 9, ", "9 is not 8 plus a multiple of 8"),
        ("method/hidden_sizes: [10, 10]}", "method/hidden_sizes: [9]}", "[9] is not one of the v"),
        ("num_trials: 3", "num_trials: 0", "sweep.num_trials: must be >= 1 but got 0"),
        ("num_trials: 3", "trials: 3", "sweep.trials: unknown key"),
        ("num_trials: 3", "seeds: [1, 1]", "sweep.seeds: must be different numbers but got"),
        ("num_trials: 3", "seeds: []", "sweep.seeds: must be different numbers but got []"),
        ("num_trials: 3", "sampler: bohb", "sweep.sampler: must be one of tpe, random, grid"),
        ("num_trials: 3", "objective: acc", "sweep.objective: 'acc' is not val/SCENARIO/METRIC"),
        (
            "num_trials: 3",
            "objective: test/task/average_accuracy",
            "sweep.objective: test/task/average_accuracy would select on test data; use val/",
        ),
        (
            "num_trials: 3",
            "objective: val/class/average_accuracy",
            "sweep.objective: val/class/average_accuracy is not measured; trial.eval_scenarios",
        ),
        (
            "num_trials: 3",
            "objective: val/task/task_inference_accuracy",
            "hnet infers no task in the task scenario",
        ),
    ],
)
def test_one_mistake_is_named_with_its_key_and_value(old: str, new: str, message: str) -> None:
    found = errors_of(changed(old, new))
    assert any(message in error for error in found), found
    # A search key that is wrong takes the points that name it with it; nothing else cascades.
    others = [error for error in found if not error.startswith("points_to_evaluate")]
    assert len(others) <= 1, found


def test_all_mistakes_are_reported_at_once() -> None:
    text = GOOD.replace("low: 1e-4", "low: -1").replace("name: hnet", "name: hnet, acivation: elu")
    text = text.replace("num_trials: 3", "num_trials: x, mode: up").replace("0.01", "100")
    found = errors_of(text)
    starts = [error.split(":")[0] for error in found]
    assert "search.method/beta.low" in starts
    assert "trial.method/acivation" in starts
    assert {"sweep.num_trials", "sweep.mode"} <= set(starts)
    assert len(found) == len(set(found)) >= 4


def test_keys_given_twice_are_named_with_their_lines() -> None:
    text = GOOD + "sweep: {num_trials: 4, num_trials: 5}\n"
    assert errors_of(text) == [
        "sweep: given twice (lines 12 and 13)",
        "sweep.num_trials: given twice (lines 13 and 13)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file must hold a mapping but holds None"),
        ("- 1", "the file must hold a mapping but holds [1]"),
        ("a: [1", "line 1, column 6: not valid YAML"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
        ("trial: 3", "trial: must be a mapping but got 3"),
        ("search: [1]", "search: must name at least one key"),
        ("sweep: 4", "sweep: must be a mapping but got 4"),
        ("points_to_evaluate: 4", "points_to_evaluate: must be a list of mappings but got 4"),
        ("points_to_evaluate: [4]", "points_to_evaluate[0]: must"),
        ("points_to_evaluate: [{}]", "points_to_evaluate[0]: must name at least one searched"),
        ("trial: {1: 2}", "trial.1: keys must be strings"),
    ],
)
def test_a_file_of_the_wrong_shape_is_reported(text: str, message: str) -> None:
    assert any(message in error for error in errors_of(text)), errors_of(text)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing.yaml: cannot be read: No such file"):
        load(tmp_path / "nothing.yaml")


def test_reading_files_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from sweeps.space.search_space import load;"
        f"load(Path({str(FILES[0])!r}));"
        "print([m for m in ('ray', 'torch', 'mlflow', 'optuna', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_a_choice_tells_true_from_one() -> None:
    from sweeps.space.parameters import ChoiceParameter

    parameter = ChoiceParameter((True, False))
    assert parameter.problem(True) is None
    assert parameter.problem(1) is not None
    loaded: Any = parameter.load(True)
    assert loaded is True
