"""The reference of settings says what each one is, and docs/settings.md is that reference."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from own_code import METHOD, PARTS

from hcl.config import ConfigError, TrialConfig, known_keys, plugins
from hcl.config.methods import METHOD_CONFIGS
from hcl.config.schema import setting
from sweeps.space import reference
from sweeps.space.reference import find_section, sections, text
from sweeps.space.settings import SweepSettings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_every_setting_has_a_meaning() -> None:
    silent = [one.name for part in sections() for one in part.settings if not one.meaning]
    assert not silent, f"write a comment at {silent}"


def test_every_setting_of_every_method_is_there() -> None:
    for method in METHOD_CONFIGS:
        parts = ("trial", "benchmark", "target", "train", method)
        named = {one.name for part in parts for one in find_section(part).settings}
        assert named | {"method/name"} == set(known_keys(method))
    named = {one.name for one in find_section("sweep").settings}
    assert named == {f"sweep.{field.name}" for field in dataclasses.fields(SweepSettings)}


def test_defaults_are_those_of_a_trial() -> None:
    values = TrialConfig.from_dict({"method": {"name": "online_ewc"}}).to_dict()
    for part in ("benchmark", "target", "train", "online_ewc"):
        for one in find_section(part).settings:
            assert one.default == reference._show(
                tuple(value) if isinstance(value := values[one.name], list) else value
            )


def test_a_choices_own_default_is_said() -> None:
    (padding,) = find_section("benchmark/padding").settings
    assert padding.default == "0" and padding.meaning.endswith("Default 2 for permuted_mnist.")
    (sizes,) = find_section("target/hidden_sizes").settings
    assert sizes.meaning.endswith("Default [512] for zenkenet; [] for all others.")


@dataclass(frozen=True)
class Base:
    strength: float = setting(1.0, gt=0, le=5)  # how strong it is


@dataclass(frozen=True)
class Own(Base):
    """What it is,
    in two lines.
    """

    # A comment of two
    # lines.
    kind: Literal["a", "b"] | None = None
    sizes: tuple[int, ...] = (
        1,
        2,
    )  # behind the last line

    flag: bool = False  # sentence with a full stop.


def test_meanings_are_the_comments_at_the_fields() -> None:
    group = reference.Group({"own": (Own, {})}, default="own")
    part = reference._section("own", "Own", "method", group)
    assert part.about == "What it is, in two lines."
    assert [dataclasses.astuple(one) for one in part.settings] == [
        ("method/strength", "number, > 0, ≤ 5", "1", "How strong it is."),
        ("method/kind", "a, b", "none", "A comment of two lines."),
        ("method/sizes", "list of whole numbers", "[1, 2]", "Behind the last line."),
        ("method/flag", "true or false", "false", "Sentence with a full stop."),
    ]


def test_a_users_own_method_is_described(tmp_path: Path) -> None:
    for name, content in {"methods.py": METHOD, **PARTS}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with plugins.importable(tmp_path):
        part = find_section("methods:Shrinking")
    assert part.title == "Shrinking: `methods:Shrinking`"
    assert [one.name for one in part.settings] == ["method/strength", "method/when"]


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="'method/betta'; did you mean method/beta?"):
        find_section("method/betta")


def test_a_section_fits_the_terminal() -> None:
    for part in sections():
        assert max(map(len, text(part, 60).splitlines())) <= 60


def test_the_page_is_current() -> None:
    write = "hcl settings --markdown > docs/settings.md"
    assert PAGE.read_text() == reference.markdown() + "\n", f"run: {write}"
