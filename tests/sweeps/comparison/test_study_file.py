"""Study files: what is read, which sweeps come of it, and every mistake in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_study import document, study

from hcl.config import ConfigError
from sweeps.comparison.plan import expected_trainings, make_plan
from sweeps.comparison.study_file import load_study, parse_study
from sweeps.space.bundled import bundled_files


def test_all_methods_share_the_studys_settings() -> None:
    parts = make_plan(study())
    assert [part.method for part in parts] == ["si", "finetune"]
    assert [part.space.name for part in parts] == [
        "tiny-split_digits-task-si",
        "tiny-split_digits-task-finetune",
    ]
    configs = [part.space.example() for part in parts]
    assert {config.train.iterations for config in configs} == {10}  # the study's, not the method's
    assert {config.benchmark.num_tasks for config in configs} == {3}
    for part in parts:
        sweep = part.space.sweep
        assert (sweep.num_trials, sweep.objective) == (2, "val/task/average_accuracy")


def test_the_expected_trainings_are_those_of_the_searches_left_and_of_all_pairs() -> None:
    spec = study(methods=document()["methods"] | {
        "er": {"trial": {"method/name": "er"}, "points_to_evaluate": [{"train/lr": 0.01}],
               "search": {"train/lr": {"type": "float", "low": 0.001, "high": 0.1}}}
    })  # fmt: skip
    parts = make_plan(spec)
    names = [part.space.name for part in parts]
    found = list(expected_trainings(spec, parts, names))
    counts = [(name, count, config.seed) for name, config, count in found]
    assert counts == [
        ("si task", 1, 1), ("si task", 1, 1), ("si task", 2, 101), ("si task", 1, 101),
        ("finetune task", 1, 1), ("finetune task", 1, 1),
        ("finetune task", 2, 101), ("finetune task", 1, 101),
        ("er task", 2, 1), ("er task", 3, 101),  # a given point stands for all
    ]  # fmt: skip
    left = list(expected_trainings(spec, parts, names[2:]))
    assert [name for name, *_ in left].count("si task") == 2  # its search has finished
    hours = study(effort={"core_hours": 0.5})
    assert {
        config.seed for _, config, _ in expected_trainings(hours, make_plan(hours), names)
    } == {101}


def test_effort_in_core_hours_bounds_every_sweep() -> None:
    for part in make_plan(study(effort={"core_hours": 0.5})):
        assert part.space.sweep.core_hours == 0.5 and part.space.sweep.num_trials == 1000


def test_every_benchmark_and_scenario_is_a_row_of_its_own() -> None:
    spec = study(benchmarks=["split_digits", "permuted_digits"], scenarios=["task", "domain"])
    rows = list(dict.fromkeys(part.row for part in make_plan(spec)))
    assert rows == [
        "split_digits, 5 tasks, task",
        "split_digits, 5 tasks, domain",
        "permuted_digits, 5 tasks, task",
        "permuted_digits, 5 tasks, domain",
    ]


def test_sequences_over_the_same_data_have_sweeps_of_their_own() -> None:
    rotated = {"sequence": "rotated", "data": "digits"}
    split = {"sequence": "split", "data": "digits"}
    parts = make_plan(study(benchmarks=[rotated, split], confirmation={"orders": "fixed"}))
    assert [part.space.name for part in parts] == [
        "tiny-rotated-digits-task-si", "tiny-rotated-digits-task-finetune",
        "tiny-split-digits-task-si", "tiny-split-digits-task-finetune",
    ]  # fmt: skip
    files = [{"sequence": "split", "data": f"{folder}/shown.npz"} for folder in "ab"]
    with pytest.raises(ConfigError, match="each stands once, but got split-shown.npz, split-sho"):
        study(benchmarks=files)


def test_a_reference_needs_fewer_comparisons() -> None:
    methods = document()["methods"] | {"third": document()["methods"]["si"]}
    assert study(methods=methods).num_tests == 3
    assert study(methods=methods, reference="si").num_tests == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"benchmarks": "split_digits"}, "benchmarks: must be a list such as"),
        ({"benchmarks": ["split_digits", "split_digits"]}, "benchmarks: each stands once"),
        ({"scenarios": ["taks"]}, "unknown scenario 'taks'; did you mean task?"),
        ({"effort": {}}, "effort: give trials or core_hours, above 0, but got None"),
        ({"effort": {"trials": 1, "core_hours": 1.0}}, "effort: give trials or core_hours"),
        ({"confirmation": {"pairs": 1}}, "confirmation.pairs: must be >= 2 but got 1"),
        ({"protocol": "first"}, "protocol: must be full, {first_tasks: 2}"),
        ({"protocol": {"first_tasks": 0}}, "protocol: must be full, {first_tasks: 2}"),
        ({"protocol": {"transfer": "digits"}}, "protocol.transfer: unknown benchmark 'digits'"),
        ({"reference": "hnet"}, "reference: 'hnet' is not among the methods"),
        ({"sweep": {"num_trials": 3}}, "sweep.num_trials: the study decides it"),
        ({"sweep": {"gpus_per_trial": "auto"}}, "auto is for a single sweep"),
        ({"trial": {"scenario": "task"}}, "trial.scenario: the study decides it"),
        ({"methods": {"si": "nothing"}}, "methods.si: there is no search space 'nothing'"),
        ({"methods": {"si": {"serach": {}}}}, "methods.si.serach: unknown key; did you mean"),
        ({"methods": {"si": {"sweep": {"seeds": [2]}}}}, "methods.si.sweep: searches are alike"),
        ({"methods": {"si": "split_digits-si"}}, "a study compares two or more but got 1"),
        ({"seeds": [1]}, "seeds: unknown key"),
    ],
)
def test_a_mistake_is_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study(**changes)
    assert any(said in message for message in caught.value.errors), caught.value.errors


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trial": {}}, "needs validation data"),
        (
            {"protocol": {"first_tasks": 3}},
            "must be less than the 3 tasks of split_digits",
        ),
        ({"confirmation": {"first_seed": 0}}, "the searches use the seeds 1 too"),
        ({"benchmarks": ["toy_regression"]}, "methods.si, task: "),
    ],
)
def test_what_does_not_fit_together_is_found_before_any_training(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make_plan(study(**changes))
    assert any(said in message for message in caught.value.errors), caught.value.errors


def test_a_search_space_beside_the_study_comes_first(tmp_path: Path) -> None:
    own = "trial: {method/name: er}\nsearch: {train/lr: {type: float, low: 0.1, high: 1.0}}\n"
    (tmp_path / "mine.yaml").write_text(own)
    methods = document()["methods"] | {"mine": "mine.yaml"}
    spec = parse_study(document(methods=methods), "tiny", tmp_path)
    assert make_plan(spec)[-1].space.example().method_name == "er"


def test_every_bundled_study_has_a_plan() -> None:
    files = bundled_files("study")
    assert len(files) >= 2
    for path in files.values():
        spec = load_study(path)
        parts = make_plan(spec)
        assert len(parts) == len(spec.methods) * len(spec.scenarios) * len(spec.benchmarks)
        from sweeps.output.statistics.paired import pairs_needed

        assert spec.confirmation.pairs >= pairs_needed(spec.num_tests), path


def test_a_change_may_name_a_section_that_the_file_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({k: v for k, v in document().items() if k != "sweep"}))
    given = {"sweep": {"max_concurrent_trials": 1}}

    def change(values: dict[str, Any]) -> dict[str, Any]:
        assert values["sweep"] == {}
        return values | given

    assert load_study(path, change=change).sweep == given["sweep"]
