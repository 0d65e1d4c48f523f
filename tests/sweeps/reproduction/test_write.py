"""Commands that are published with a table: no folder of one machine, no credentials."""

from pathlib import Path

import pytest

from sweeps.reproduction.write import portable_command

DEFAULT = Path("storage")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "written", ["storage", "./storage", "{here}/storage", "{here}/x/../storage"]
)
def test_the_default_storage_is_left_out(written: str, tmp_path: Path) -> None:
    storage = written.format(here=tmp_path)
    for arguments in (["--storage", storage], [f"--storage={storage}"]):
        command = portable_command(["reproduce", "table1", *arguments, "--show"], DEFAULT)
        assert command == "hcl reproduce table1 --show"


def test_other_folders_are_relative(tmp_path: Path) -> None:
    arguments = ["reproduce", f"{tmp_path}/my.yaml", "--storage", f"{tmp_path.parent}/other"]
    arguments += [f"--data-root={tmp_path}/data", "--data-root", f"{tmp_path}/data"]
    command = portable_command(arguments, DEFAULT)
    assert command == (
        "hcl reproduce my.yaml --storage ../other --data-root=data --data-root data"
    )


def test_other_arguments_stay() -> None:
    arguments = ["reproduce", "table1", "--seeds", "5", "--only", "S-CL1,hnet ent"]
    command = portable_command(arguments, DEFAULT)
    assert command == "hcl reproduce table1 --seeds 5 --only 'S-CL1,hnet ent'"


def test_credentials_are_hidden() -> None:
    arguments = ["reproduce", "table1", "--tracking-uri", "http://me:hunter2@server:5000"]
    assert "hunter2" not in portable_command(arguments, DEFAULT)
