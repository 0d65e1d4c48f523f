"""The JSON Schema and the settings' own checks agree, and what is written from it is valid."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from hcl.config import ConfigError, TrialConfig
from hcl.config.benchmark.info import BENCHMARKS
from hcl.config.methods import METHOD_CONFIGS
from hcl.config.trial import GROUPS
from sweeps.commands.new import starting_space
from sweeps.space.bundled import bundled_files
from sweeps.space.json_schema import json_schema
from sweeps.space.search_space import parse
from sweeps.space.settings import SweepSettings, parse_settings

SPACES = Path(__file__).parents[3] / "search_spaces"
SCHEMA = Draft202012Validator(json_schema())


def problems(document: Any) -> list[str]:
    return [f"{e.json_path}: {e.message}" for e in SCHEMA.iter_errors(document)]


def test_it_is_a_schema_and_the_file_of_the_editors_is_it() -> None:
    Draft202012Validator.check_schema(json_schema())
    stored = json.loads((SPACES / "schema.json").read_text())
    again = "hcl settings --json-schema > search_spaces/schema.json"
    assert stored == json.loads(json.dumps(json_schema())), again


@pytest.mark.parametrize("kind", ["search space", "trial"])
def test_every_bundled_file_is_valid_and_names_its_schema(kind: str) -> None:
    for path in bundled_files(kind).values():
        text = path.read_text()
        assert problems(yaml.safe_load(text)) == [], path
        (name,) = re.findall(r"(?m)^# yaml-language-server: \$schema=(.*)$", text)
        assert (path.parent / name).resolve() == SPACES / "schema.json", path


# Setting -> a value that is wrong, for every kind of limit and type.
WRONG = [
    ("train/lr", 0),
    ("train/lr", "fast"),
    ("train/iterations", 0),
    ("train/iterations", 2.5),
    ("train/adam_beta1", 1.0),
    ("train/augment", "yes"),
    ("train/compile", "sometimes"),
    ("train/lrr", 0.1),
    ("target/hidden_sizes", [10, 0]),
    ("target/hidden_sizes", 10),
    ("benchmark/val_fraction", -0.1),
    ("method/betta", 0.1),
    ("scenario", "tsk"),
    ("seed", 1.5),
    ("method/name", "hnte"),
    ("target/network", "mpl"),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_wrong_value_is_refused_nested_and_by_the_settings_themselves(key: str, value) -> None:
    group, _, name = key.partition("/")
    document = {"method": {"name": "hnet"}}
    if name:
        document[group] = {**document.get(group, {}), name: value}
    else:
        document[key] = value
    assert problems(document) and problems({"trial": document})
    with pytest.raises(ConfigError):
        TrialConfig.from_dict(document)


@pytest.mark.parametrize("field", dataclasses.fields(SweepSettings), ids=lambda f: f.name)
def test_settings_of_a_sweep_have_the_same_limits(field) -> None:
    for value in (-1, 0, 1, 0.5, "x", True, [], None):
        errors: list[str] = []
        parse_settings({field.name: value}, errors)
        whole = [error for error in errors if "different numbers" not in error]
        assert bool(problems({"sweep": {field.name: value}})) == bool(whole), value


def test_every_default_is_within_its_own_limits() -> None:
    for name, group in GROUPS.items():
        for choice, (kind, defaults) in group.choices.items():
            values = {f.name: f.default for f in dataclasses.fields(kind)} | dict(defaults)
            values = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
            values |= {group.selector: choice} if group.selector else {}
            values = {k: v for k, v in values.items() if v is not dataclasses.MISSING}
            document = values if name == "top" else {name: values}
            assert problems(document) == [], choice


@pytest.mark.parametrize("method", METHOD_CONFIGS)
def test_a_new_space_is_valid_with_and_without_what_is_behind_its_marks(method: str) -> None:
    for benchmark in ("split_mnist", "permuted_mnist", "cifar_6", "split_digits"):
        text = starting_space(method, benchmark)
        parse(yaml.safe_load(text), "new")
        assert problems(yaml.safe_load(text)) == []
        every = re.sub(r"(?m)^( *)#(?=[\w/]+:)", r"\1", text)
        assert every.count("\n") == text.count("\n") and every != text
        assert problems(yaml.safe_load(every)) == []
        assert max(map(len, text.splitlines())) <= 100


def test_every_benchmark_has_a_new_space() -> None:
    for benchmark, info in BENCHMARKS.items():
        if not info.is_regression:
            parse(yaml.safe_load(starting_space("hnet", benchmark)), "new")
