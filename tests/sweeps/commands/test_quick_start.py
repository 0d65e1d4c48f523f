"""The command answers at once, and shows commands that others can run."""

import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.commands.options import portable_command_line

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["sweep", "--help"],
        ["validate", "search_spaces"],
        ["sweep", "search_spaces/split_digits-si.yaml", "--num-trials", "0"],
        ["run", "nothing.yaml"],
        ["reproduce", "--list"],
    ],
    ids=" ".join,
)
def test_what_trains_nothing_starts_without_heavy_imports(arguments: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        "heavy = ('torch', 'ray', 'mlflow', 'optuna', 'pandas', 'matplotlib')\n"
        "atexit.register(lambda: print('heavy:', [m for m in heavy if m in sys.modules]))\n"
        f"sys.argv = {['hcl', *arguments]}\n"
        "from sweeps.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stderr


def test_a_command_for_others_names_no_folder_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def shown(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["hcl", "reproduce", "table1", *arguments])
        return portable_command_line()

    monkeypatch.chdir(tmp_path)
    assert shown("--seeds", "5") == "hcl reproduce table1 --seeds 5"
    assert shown("--storage", "storage", "--seeds", "5") == "hcl reproduce table1 --seeds 5"
    assert shown(f"--storage={tmp_path}/storage") == "hcl reproduce table1"
    outside = shown("--storage", str(tmp_path.parent / "records"), "--show")
    assert outside == "hcl reproduce table1 --storage ../records --show"
