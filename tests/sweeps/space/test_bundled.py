"""Bundled files are found by name; a user's own file comes first; nothing found is an error."""

import json
from pathlib import Path

import pytest

from hcl.config import ConfigError
from sweeps.records import folder
from sweeps.space import bundled
from sweeps.space.bundled import FOLDERS, bundled_files, find_file

ROOT = Path(__file__).parents[3]


def test_every_kind_is_there() -> None:
    names = ("split_mnist-hnet", "table1", "split_digits", "split_digits-study")
    for kind, name in zip(FOLDERS, names, strict=True):
        assert bundled_files(kind)[name] == ROOT / FOLDERS[kind] / f"{name}.yaml"
    everything = [path for kind in FOLDERS for path in bundled_files(kind).values()]
    assert len({path.stem for path in everything}) == len(everything)  # one name, one file


def test_a_file_of_the_user_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file("table1", "table").parent == ROOT / "search_spaces" / "tables"
    Path("table1.yaml").touch()
    assert find_file("table1", "table") == Path("table1.yaml")
    Path("table1").touch()
    assert find_file("table1", "table") == Path("table1")


def test_only_a_name_is_looked_up() -> None:
    for path in ("table1.yaml", "tables/table1", "/table1", ".", ".."):
        assert find_file(path, "table") == Path(path)


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="no trial 'split_digit'; did you mean split_digits?"):
        find_file("split_digit", "trial")
    with pytest.raises(ConfigError, match="no bundled file 'zzz'; known: cifar_6-hnet,"):
        find_file("zzz", "search space", "trial")


def test_nothing_bundled_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "PACKAGE", tmp_path / "sweeps")
    with pytest.raises(ConfigError, match="there is no table in .*; install hcl-sweeps again"):
        bundled_files("table")


def test_the_commit_is_the_wheels_or_the_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that lies in another project's repository is not of that project's commit."""
    inside = tmp_path / "env" / "site-packages"
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(folder, "ROOT", inside)
    assert folder.git_tags() == {}
    made = {"git_commit": "abc", "git_dirty": False}
    (tmp_path / "commit.json").write_text(json.dumps(made))
    monkeypatch.setattr(folder, "WHEEL_COMMIT", tmp_path / "commit.json")
    assert folder.git_tags() == made
