"""The command answers at once where it trains nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

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
        ["files"],
        ["settings", "method/beta"],
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
