"""A user's own methods and networks by import path: found, validated, told apart by their code."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from own_code import METHOD, write
from tiny import errors_of, go

from hcl.config import ConfigError, TrialConfig, plugins
from hcl.networks import build_network

OWN = {
    "benchmark/name": "split_digits",
    "benchmark/num_tasks": 2,
    "method/name": "mine:Shrinking",
    "target/network": "nets:small",
    "train/iterations": 3,
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    write(tmp_path)
    with plugins.importable(tmp_path):
        yield tmp_path


def own(**changes: Any) -> TrialConfig:
    return TrialConfig.from_dict({**OWN, **{k.replace("__", "/"): v for k, v in changes.items()}})


def code_after(file: Path, text: str) -> str:
    """Digest of the same trial once a file's text is another."""
    folder = file.parent if file.parent.name != "parts" else file.parents[1]
    file.write_text(text)
    with plugins.importable(folder):
        return own().code


def test_settings_are_those_of_the_own_classes(folder: Path) -> None:
    config = own(method__strength=0.25, method__when="never")
    values = config.to_dict()
    assert values["method/name"] == config.method_name == "mine:Shrinking"
    assert (values["method/strength"], values["method/when"]) == (0.25, "never")
    assert values["target/hidden_sizes"] == [5], "SETTINGS has its default"
    assert TrialConfig.from_dict(values) == config
    assert config.method.label("task") == "Shrinking"
    assert config.no_replicas() == [
        "train/num_replicas: mine:Shrinking trains one seed at a time",
        "train/num_replicas: nets:small trains one seed at a time",
    ]


def test_it_is_trained(folder: Path) -> None:
    zero, left_alone = (
        go(own(method__strength=1.0, method__when=when, train__iterations=30, train__lr=0.05))
        for when in ("always", "never")
    )
    assert zero.config["code"] == own().code and len(own().code) == 12
    assert zero.accuracy["test/task"][0][0] < 0.6 < left_alone.accuracy["test/task"][0][0]
    one = {n: p for n, p in build_network(own().target, (64,), 4).named_parameters()}
    assert one["0.weight"].shape == (5, 64) and one["2.weight"].shape == (4, 5)


def test_its_code_is_part_of_its_identity(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    with plugins.importable(tmp_path / "a"):
        first = own()
        assert set(plugins.to_keep(["mine:Shrinking"])) == {
            "mine.py", "parts/__init__.py", "parts/shrink.py", "parts/numbers.py",
        }  # fmt: skip
    with plugins.importable(tmp_path / "b"):
        assert own().digest() == first.digest(), "wherever it lies"
    (tmp_path / "b/unrelated.py").write_text("X = 1\n")
    assert code_after(tmp_path / "b/parts/numbers.py", "ONE = 0.5\n") != first.code
    with plugins.importable(tmp_path / "b"):
        changed = own()
        assert changed.digest() != first.digest()
        (message,) = errors_of(first.to_dict())
    assert message.startswith(f"code: was {first.code} and is {changed.code} now: the code of")
    assert TrialConfig.from_dict({"seed": 1}).to_dict().get("code") is None


def test_folders_are_forgotten(tmp_path: Path) -> None:
    write(tmp_path)
    before = list(sys.path)
    with plugins.importable(tmp_path):
        own()
        assert "mine" in sys.modules and "parts.numbers" in sys.modules
    assert sys.path == before and not {"mine", "nets", "parts.numbers"} & sys.modules.keys()
    assert any("there is no module mine in" in message for message in errors_of(OWN))


CONFIG, STRENGTH = "    Config = Config", "strength: float = setting(0.1, ge=0)"
MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("", {"method__strenght": 1}, "method/strenght: unknown key; did you mean strength?"),
    ("", {"method__strength": -1}, "method/strength: must be >= 0 but got -1"),
    ("", {"method__when": "now"}, "method/when: must be one of always, never but got 'now'"),
    ("", {"method__name": "mine:Shrink"}, "mine.py has no Shrink; did you mean Shrinking?"),
    ("", {"method__name": "mein:Shrink"}, "there is no module mein in {folder}; put its"),
    ("", {"method__name": "mine:factor"}, "mine:factor is no method; make it a class"),
    ("", {"method__name": "mine.Shrink"}, "method/name: unknown method 'mine.Shrink'"),
    ("", {"target__network": "a:b.c"}, "target/network: unknown network 'a:b.c'"),
    ("", {"target__network": "nets:text"}, "target/network: nets:text makes no network; name a"),
    ("", {"target__fc_dropout": 0.5}, "target/fc_dropout: nets:small has no such setting"),
    ("import torhc", {}, "mine.py, line 1: ModuleNotFoundError: No module named 'torhc'"),
    ("raise SystemExit(3)", {}, "mine.py, line 1: SystemExit: 3"),
    ("def :", {}, "mine.py, line 1: SyntaxError: invalid syntax"),
    (f"{CONFIG} -> ", {}, "mine:Shrinking: it has no settings; give it a class Config"),
    (f"{CONFIG} -> {CONFIG}.LABEL", {}, "mine:Shrinking: it has no settings; give it a class"),
    ("@dataclass(frozen=True) -> ", {}, "its Config is no dataclass; write @dataclass("),
    (f"{STRENGTH} -> strength: list = ()", {}, "has strength of type <class 'list'>; use bool"),
    ('LABEL: ClassVar[str] = "Shrinking" -> other: int = 1', {}, "no name for tables; add LABEL:"),
    ("(Finetune) -> (Method)", {}, "mine:Shrinking has no predict, set_learning_rate, train_step"),
]


@pytest.mark.parametrize(("text", "changes", "words"), MISTAKES)
def test_mistakes_are_one_sentence(
    tmp_path: Path, text: str, changes: dict[str, Any], words: str
) -> None:
    write(tmp_path)
    old, new = text.split(" -> ") if " -> " in text else (METHOD, text or METHOD)
    assert old in METHOD
    (tmp_path / "mine.py").write_text(METHOD.replace(old, new))
    with plugins.importable(tmp_path), pytest.raises(ConfigError) as caught:
        own(**changes)
    (message,) = caught.value.errors
    assert words.format(folder=tmp_path) in message and "\n" not in message, message


def test_a_network_that_is_none(folder: Path) -> None:
    config = own(target__network="nets:number").target
    with pytest.raises(ConfigError, match=r"nets:number made 3, no torch\.nn\.Module"):
        build_network(config, (64,), 4)
    config = own(target__network="nets:normed").target
    with pytest.raises(ConfigError, match="keeps running statistics.*; give it SETTINGS = "):
        build_network(config, (64,), 4)


def test_too_much_code(folder: Path) -> None:
    (folder / "parts/numbers.py").write_text("ONE = 1.0\nTABLE = '" + "x" * plugins.LIMIT + "'\n")
    with pytest.raises(ConfigError, match=r"its code and what that imports have 2\.0 MiB, more"):
        own()


def test_refused_code_is_forgotten(tmp_path: Path) -> None:
    """The next folder's module is not taken for the refused one's."""
    with plugins.importable(write(tmp_path)):
        (tmp_path / "parts/numbers.py").write_text("ONE = '" + "x" * plugins.LIMIT + "'\n")
        with pytest.raises(ConfigError, match="more than 2 MiB"):
            own()
    assert not {"mine", "parts", "parts.numbers"} & set(sys.modules)


def test_an_installed_package_needs_no_copy() -> None:
    paths = ["torchvision.ops:MLP"]
    assert plugins.to_keep(paths) == {} and len(plugins.digest(paths)) == 12
    found = {name for files in plugins.code_of(paths).values() for name in files}
    assert "torchvision/ops/misc.py" in found
    assert all(name.startswith(f"torchvision{os.sep}") for name in found)
