"""Compiled Adam kernels against torch's own, and training without a compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import go, trial

from hcl.kernels import one_pass
from hcl.kernels.compiled_step import ahead, step
from hcl.kernels.fast_adam import FastAdam

SHAPES = [(3, 2), (4,), (1, 0), (5, 7)]
BETAS, EPS = (0.9, 0.99), 1e-8


def some() -> list[torch.Tensor]:
    return [torch.randn(shape, dtype=torch.float64) for shape in SHAPES]


def learned(params: list[torch.Tensor]) -> FastAdam:
    optimizer = FastAdam(params, 0.01, BETAS, EPS)
    for _ in range(3):
        optimizer.step(some())
    return optimizer


def scalars_of(optimizer: FastAdam) -> torch.Tensor:
    scale1, scale2 = optimizer.bias_corrections()
    return torch.tensor([optimizer.lr / scale1, scale2**0.5], dtype=torch.float64)


def test_kernels_are_adam() -> None:
    torch.manual_seed(0)
    optimizer, grads, base = learned(some()), some(), some()[-1]
    into, scalars = some(), scalars_of(optimizer)
    *lower, last = optimizer.ahead(grads)
    state = (optimizer.params, grads, optimizer.first, optimizer.second)
    ahead(*state, base, into, scalars, BETAS, EPS)
    for mine, theirs in zip(into, [*lower, last - base], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)
    more = some()
    copies = [[t.clone() for t in kind] for kind in (*state[:2], more, *state[2:])]
    step(*copies, scalars, BETAS, EPS)
    optimizer.step(grads, more)
    found = [copies[0], copies[3], copies[4]]
    for kind, own in zip(
        found, [optimizer.params, optimizer.first, optimizer.second], strict=True
    ):
        for mine, theirs in zip(kind, own, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)


def test_short_trials_are_not_compiled() -> None:
    assert "compile_seconds" not in go(trial("hnet")).metrics


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_compiled_training_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_pass, "THIN", 0)  # else that is what is compiled
    plain = go(trial("hnet", train__compile="off"))
    compiled = go(trial("hnet", train__compile="on"))
    assert compiled.metrics["compile_seconds"] > 0
    for name, matrix in plain.accuracy.items():
        for row, expected in zip(compiled.accuracy[name], matrix, strict=True):
            assert row == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kernel", ["torch.compile", "one pass"])
@pytest.mark.parametrize("compiler", ["/nowhere/c++", "/nowhere/c++ -v"])
def test_no_compiler_is_no_obstacle(kernel: str, compiler: str, tmp_path: Path) -> None:
    code = (
        "from hcl.kernels import one_pass\n"
        "from tiny import go, trial\n"
        f"one_pass.THIN = {0 if kernel == 'torch.compile' else one_pass.THIN}\n"
        "result = go(trial('hnet', train__compile='on'))\n"
        "assert 'compile_seconds' not in result.metrics\n"
        "print(len(result.accuracy['test/task']))\n"
    )
    env = {
        **os.environ,
        "CXX": compiler,
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3\n"
    assert "the training step is not compiled" in done.stderr
    assert "Traceback" not in done.stderr


COMPILING = """
import torch
from hcl.kernels.compiled_step import compile_for
assert compile_for([torch.zeros(4, 3)], (0.9, 0.999), 1e-8) is not None
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_compiling_is_silent_with_a_cuda_toolkit_and_no_gpu(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    environment = os.environ | {"CUDA_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILING], capture_output=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
