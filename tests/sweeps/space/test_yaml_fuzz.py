"""Fuzzed search space files: each is a search space or a list of what to correct."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hcl.config import ConfigError
from sweeps.space.search_space import SearchSpace, load, parse
from sweeps.space.yaml_file import load_yaml, parse_yaml

SPACES = sorted((Path(__file__).parents[3] / "search_spaces").glob("*.yaml"))
VALID = [parse_yaml(path.read_text()) for path in SPACES]

# Characters that mean something in YAML come often, in the order of chance.
texts = st.text(st.sampled_from(" \t\n-?:,[]{}#&*!|>'\"%@`~=<.0129eE_+xnulNaofits\0\x85\ufeff"))
words = st.sampled_from(
    "low high log step type values float int choice method/name method/beta trial search sweep"
    " seeds num_trials points_to_evaluate".split()
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 10**20, 10**400, 1e308, 1e-320])
    | st.floats()
    | words
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.dates()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(words | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.text() | texts)
@example("a: !!int x")
@example("a: !!timestamp x")
@example("a: !!float x")
@example("? [a]\n: 1")
@example("&a [*a]")
@example("[" * 5000)
@example("a: " + "9" * 5000)
@example("{<<: 1}")
@example("=: 1")
def test_any_text_is_a_mapping_or_a_mistake(text: str) -> None:
    try:
        assert isinstance(parse_yaml(text), dict)
    except ConfigError as error:
        assert all(error.errors)


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_any_file_is_a_mapping_or_a_mistake_with_its_name(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    try:
        assert isinstance(load_yaml(path), dict)
    except ConfigError as error:
        assert all(message.startswith(f"{path}: ") for message in error.errors)


@settings(max_examples=200)
@given(st.sampled_from(VALID), st.data())
def test_a_changed_search_space_is_one_or_a_mistake(document: Any, data: st.DataObject) -> None:
    changed = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        changed = _change(changed, data)
    if not isinstance(changed, dict):
        changed = {"trial": changed}
    try:
        space = parse(changed, "fuzz")
    except ConfigError as error:
        assert all(error.errors)
        return
    assert isinstance(space, SearchSpace)
    assert parse(parse_yaml(yaml.safe_dump(space.to_dict())), "fuzz") == space


def _change(value: Any, data: st.DataObject) -> Any:
    """Replace, remove or add something at some place in the document."""
    if isinstance(value, dict | list) and value and data.draw(st.integers(0, 3)):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = data.draw(st.sampled_from(keys))
        if data.draw(st.integers(0, 5)) == 0:
            del value[key]
        else:
            value[key] = _change(value[key], data)
        return value
    if isinstance(value, dict) and data.draw(st.booleans()):
        value[data.draw(words | scalars)] = data.draw(values)
        return value
    return data.draw(values)


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_what_was_changed_was_valid(path: Path) -> None:
    assert load(path).name == path.stem


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", "010"), ("1:30", "1:30"), ("0x1f", "0x1f"), ("-12", -12), ("1_000", 1000), ("0", 0)],
)
def test_whole_numbers_are_decimal(text: str, value: Any) -> None:
    assert parse_yaml(f"a: {text}") == {"a": value}
