"""Configurations: every mistake is reported at once, in words; a digest names each of them."""

import dataclasses
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import errors_of

from hcl.config import (
    BENCHMARKS,
    ConfigError,
    TrialConfig,
    flatten,
    known_keys,
)
from hcl.config.methods import METHOD_CONFIGS

ROOT = Path(__file__).parents[2]


def test_defaults_and_forms_of_writing() -> None:
    nested = TrialConfig.from_dict({"method": {"name": "si", "c": 3}, "train": {"lr": 0.1}})
    flat = TrialConfig.from_dict({"method/name": "si", "method/c": 3.0, "train/lr": 0.1})
    mixed = TrialConfig.from_dict({"method": {"name": "si"}, "method/c": 3, "train/lr": 0.1})
    assert nested == flat == mixed
    assert nested.digest() == flat.digest()
    assert TrialConfig.from_dict({}).method_name == "hnet"
    assert TrialConfig.from_dict({"scenario": "domain"}).eval_scenarios == ("domain",)
    assert TrialConfig.from_dict({"eval_scenarios": []}).eval_scenarios == ("task",)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_defaults_of_a_benchmark(name: str) -> None:
    made = TrialConfig.from_dict({"benchmark/name": name}).benchmark
    assert dataclasses.asdict(made).items() >= BENCHMARKS[name].defaults.items()
    changed = TrialConfig.from_dict({"benchmark": {"name": name, "num_tasks": 2}}).benchmark
    assert changed.num_tasks == 2 and changed.padding == made.padding


def test_every_error_at_once_with_its_key() -> None:
    errors = errors_of(
        {
            "benchmark": {"name": "split_digits", "num_tasks": 6, "val_fraction": 1},
            "scenario": "tusk",
            "target": {"hidden_sizes": [10, 0], "network": "mpl"},
            "method": {"name": "hnet", "bta": 1, "embedding_size": 2.5, "lookahead": False},
            "train": {"iterations": "many", "adam_beta1": 1.0},
            "train/batch_size": True,
            "seed": -1,
            "speed": 1,
        }
    )
    keys = sorted(error.split(":")[0] for error in errors)
    assert keys == [
        "benchmark/val_fraction",
        "method/bta",
        "method/embedding_size",
        "method/lookahead",
        "scenario",
        "seed",
        "speed",
        "target/hidden_sizes",
        "target/network",
        "train/adam_beta1",
        "train/batch_size",
        "train/iterations",
    ]
    assert all("\n" not in error for error in errors)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method/bta": 1}, "method/bta: unknown key; did you mean beta?"),
        ({"method/qqq": 1}, "method/qqq: unknown key; known: activation, beta,"),
        ({"trian/lr": 1}, "trian/lr: unknown key; did you mean train/lr?"),
        ({"beta": 1}, "beta: unknown key; did you mean method/beta?"),
        ({"hidden_sizes": [3]}, "did you mean method/hidden_sizes or target/hidden_sizes?"),
        ({"method": "si"}, "method: must be a mapping of its settings but got 'si'"),
        ({"train": [1]}, "train: must be a mapping"),
        ({"method/name": "hent"}, "method/name: unknown method 'hent'; did you mean hnet?"),
        ({"method/name": ["hnet"]}, "method/name: unknown method ['hnet']"),
        ({"benchmark/name": "split_mnits"}, "did you mean split_mnist?"),
        ({"benchmark/name": None}, "benchmark/name: unknown benchmark None"),
        ({"target/network": "mpl"}, "target/network: unknown network 'mpl'; did you mean mlp?"),
        ({"train/lr": "1e-3"}, "train/lr: must be a number but got '1e-3' (YAML reads 1e-3 as"),
        ({"train/lr": "fast"}, "train/lr: must be a number but got 'fast'"),
        ({"train/lr": True}, "train/lr: must be a number but got True"),
        ({"train/lr": math.nan}, "train/lr: must be finite but got nan"),
        ({"train/lr": math.inf}, "train/lr: must be finite but got inf"),
        ({"train/lr": 10**400}, "train/lr: must be finite"),
        ({"train/lr": 0}, "train/lr: must be > 0 but got 0.0"),
        ({"train/lr": None}, "train/lr: must be a number but got None"),
        ({"seed": math.inf}, "seed: must be a whole number but got inf"),
        ({"seed": math.nan}, "seed: must be a whole number but got nan"),
        ({"seed": 1.0}, "seed: must be a whole number but got 1.0"),
        ({"seed": False}, "seed: must be a whole number but got False"),
        ({"seed": "1"}, "seed: must be a whole number but got '1'"),
        ({"train/batch_size": 0}, "train/batch_size: must be >= 1 but got 0"),
        ({"train/adam_beta2": 1}, "train/adam_beta2: must be < 1 but got 1.0"),
        ({"target/hidden_sizes": 400}, "target/hidden_sizes: must be a list but got 400"),
        ({"target/hidden_sizes": "400"}, "target/hidden_sizes: must be a list but got '400'"),
        ({"target/hidden_sizes": [4, "4"]}, "must be a whole number but got '4'"),
        ({"target/hidden_sizes": [4, -4]}, "target/hidden_sizes: must be >= 1 but got -4"),
        ({"method/mask_heads": 1}, "method/mask_heads: must be true or false but got 1"),
        ({"method/lookahead": False}, 'write it in quotes: "off"'),
        ({"scenario": "CL1"}, "scenario: must be one of task, domain, class but got 'CL1'"),
        ({"scenario": ["task"]}, "scenario: must be one of task, domain, class but got"),
        ({"eval_scenarios": "task"}, "eval_scenarios: must be a list but got 'task'"),
        ({"eval_scenarios": ["task", "task"]}, "eval_scenarios: task is given twice"),
        ({"eval_scenarios": ["domain"]}, "cannot be scored in the domain scenario; use task or"),
        (
            {"benchmark/class_order": "random"},
            "must be a list but got 'random'; or fixed; or shuf",
        ),
        ({"benchmark/class_order": [0, "1"]}, "benchmark/class_order: must be a whole number but"),
        ({"benchmark/class_order": [0, -1]}, "benchmark/class_order: must be >= 0 but got -1"),
        ({"benchmark/order_seed": "trail"}, "must be a whole number but got 'trail'; or trial"),
        ({"benchmark/order_seed": -1}, "benchmark/order_seed: must be >= 0 but got -1"),
        ({"benchmark/first_task_permuted": 1}, "first_task_permuted: must be true or false but"),
        ({"method/name": "lwf", "method/distillation": "mean"}, "must be one of sum, mean_over_"),
        ({"method/name": "dgr", "method/distillation": "sum"}, "method/distillation: unknown key"),
        ({"benchmark/num_tasks": 6}, "benchmark/num_tasks: split_mnist has 10 classes but 6"),
        ({"seed": 1, 2: 3}, "2: keys must be strings"),
        ({"method": {"beta": 1}, "method/beta": 2}, "method/beta: given twice, remove one"),
        ({"method": {"beta": {"low": 1}}}, "method/beta/low: unknown key"),
        ({"": 1}, ": unknown key; known: benchmark/..., eval_scenarios, method/...,"),
        ({"qqq": 1}, "qqq: unknown key; known: benchmark/..., eval_scenarios, method/...,"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_one_mistake_one_sentence(values: dict[str, Any], words: str) -> None:
    (error,) = errors_of(values)
    assert words in error and "\n" not in error


def test_text_that_is_no_finite_number_gets_no_advice_on_dots() -> None:
    (error,) = errors_of({"train/lr": "nan"})
    assert "YAML" not in error


def test_too_many_classes_for_one_task() -> None:
    (error,) = errors_of(
        {"benchmark": {"name": "split_digits", "num_tasks": 1, "classes_per_task": 11}}
    )
    assert "10 classes" in error and "set it to 0" not in error


def test_errors_survive_a_process_boundary() -> None:
    error = ConfigError(["a: one", "b: two"])
    assert pickle.loads(pickle.dumps(error)).errors == error.errors


# JSON-like values of any shape, with enough real keys for the fuzz to get past the front door.
KEYS = sorted({key for name in METHOD_CONFIGS for key in known_keys(name)})
PARTS = sorted({part for key in KEYS for part in key.split("/")})
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.integers(-2, 12)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["1e-3", "nan", "off", *METHOD_CONFIGS, *BENCHMARKS, "class"])
)
keys = st.sampled_from(PARTS) | st.sampled_from(KEYS) | st.text(max_size=4)
jsons = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(keys | st.integers(0, 9), inner, max_size=5)
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.dictionaries(keys | st.integers(0, 3), jsons, max_size=8))
def test_nothing_but_config_errors(values: dict[Any, Any]) -> None:
    try:
        made = TrialConfig.from_dict(values)
    except ConfigError as error:
        problems = error.errors
    else:
        problems = ["none"]
        assert TrialConfig.from_dict(made.to_dict()) == made
    assert problems and all(problems)


SETTINGS = {
    "train/lr": st.floats(1e-9, 1e3),
    "train/iterations": st.integers(1, 10**6),
    "train/adam_beta1": st.floats(0, 0.999),
    "target/hidden_sizes": st.lists(st.integers(1, 999), max_size=3),
    "scenario": st.sampled_from(["task", "domain", "class"]),
    "seed": st.integers(0, 10**9),
    "benchmark/name": st.sampled_from(sorted(BENCHMARKS.keys() - {"toy_regression"})),
    "benchmark/num_tasks": st.integers(1, 5),
    "benchmark/val_fraction": st.floats(0, 0.9),
    "method/beta": st.floats(0, 1e6) | st.integers(0, 5),
    "method/chunk_size": st.integers(0, 10**6),
    "method/lookahead": st.sampled_from(["off", "detached", "full"]),
    "method/mask_heads": st.booleans(),
}


@settings(max_examples=60)
@given(st.fixed_dictionaries({}, optional=SETTINGS))
def test_round_trip(values: dict[str, Any]) -> None:
    made = TrialConfig.from_dict(values)
    flat = made.to_dict()
    assert flat.keys() == set(known_keys("hnet"))
    assert flat == json.loads(json.dumps(flat))
    again = TrialConfig.from_dict(json.loads(json.dumps(flat)))
    assert again == made and hash(again) == hash(made) and again.digest() == made.digest()
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *group, name = key.split("/")
        (nested.setdefault(group[0], {}) if group else nested)[name] = value
    assert TrialConfig.from_dict(nested) == made and flatten(nested) == flat


@pytest.mark.parametrize("method", METHOD_CONFIGS)
def test_round_trip_of_every_methods_defaults(method: str) -> None:
    scenario = METHOD_CONFIGS[method].SCENARIOS[0]
    made = TrialConfig.from_dict({"method/name": method, "scenario": scenario})
    assert made.to_dict().keys() == set(known_keys(method))
    assert TrialConfig.from_dict(made.to_dict()) == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.seed = 3  # type: ignore[misc]


def test_known_keys_of_an_unknown_method() -> None:
    with pytest.raises(ConfigError, match="unknown method 'hent'; did you mean hnet"):
        known_keys("hent")


def test_digest() -> None:
    base = TrialConfig.from_dict({"seed": 1})
    assert len(base.digest()) == 12 and int(base.digest(), 16) >= 0
    other = TrialConfig.from_dict({"seed": 2})
    assert base.digest() != other.digest()
    assert base.digest(without_seed=True) == other.digest(without_seed=True) != base.digest()
    for changed in ({"method/beta": 0.02}, {"scenario": "class"}, {"benchmark/seed": 7}):
        assert TrialConfig.from_dict(changed).digest(True) != base.digest(True)
    same = TrialConfig.from_dict({"seed": 1, "train/eval_batch_size": 5})
    assert same.digest() == base.digest()
    assert TrialConfig.from_dict({"method/beta": 1}).digest() == (
        TrialConfig.from_dict({"method/beta": 1.0}).digest()
    )


@pytest.mark.timeout(60)
def test_reading_a_configuration_imports_no_torch() -> None:
    code = (
        "import sys, hcl, hcl.config;"
        "hcl.config.TrialConfig.from_dict({'benchmark/name': 'split_digits'}).digest();"
        "from hcl import TrialConfig, ConfigError, TaskReport;"
        "heavy = {'torch', 'numpy', 'sklearn', 'ray', 'yaml'} & set(sys.modules);"
        "print(TrialConfig.from_dict({'seed': 3}).digest());"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # The same in every process, whatever its string hashes.
    assert done.stdout.strip() == TrialConfig.from_dict({"seed": 3}).digest()


def test_a_setting_added_later_leaves_digests_as_they_were_at_its_default() -> None:
    """This digest was recorded before `reg_precision` existed; its results must be found."""
    first = TrialConfig.from_dict({"method/name": "hnet", "eval_scenarios": ["task", "class"]})
    assert first.digest(without_seed=True) == "0257eab02d02"
    other = TrialConfig.from_dict({"method/name": "hnet", "method/reg_precision": "bfloat16"})
    default = TrialConfig.from_dict({"method/name": "hnet", "method/reg_precision": "float32"})
    assert default.digest() == TrialConfig.from_dict({"method/name": "hnet"}).digest()
    assert other.digest() != default.digest()
