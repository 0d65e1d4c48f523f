"""Training where nothing is compiled: in short trials, and without a compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import go, trial


def test_short_trials_are_not_compiled() -> None:
    assert "compile_seconds" not in go(trial("hnet")).metrics


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("compiler", ["/nowhere/c++", "/nowhere/c++ -v"])
def test_no_compiler_is_no_obstacle(compiler: str) -> None:
    code = (
        "from tiny import go, trial\n"
        "result = go(trial('hnet', train__compile='on'))\n"
        "assert 'compile_seconds' not in result.metrics\n"
        "print(len(result.accuracy['test/task']))\n"
    )
    env = {
        **os.environ,
        "CXX": compiler,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3\n"
    assert "the training step is not compiled" in done.stderr
    assert "Traceback" not in done.stderr
