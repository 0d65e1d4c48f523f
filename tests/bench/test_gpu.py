"""The checks of a GPU: all of them on one, and that they find what is wrong, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.gpu import checks
from bench.gpu.__main__ import shared
from hcl.config.methods import METHOD_CONFIGS

ROOT = Path(__file__).parents[2]
# What a bare GPU machine does not have.
ABSENT = ("rich", "ray", "optuna", "mlflow", "sklearn", "scipy", "pandas", "yaml", "matplotlib")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checks.write_data(tmp_path_factory.mktemp("data"))


def test_a_device_that_computes_as_the_cpu_passes(data: Path) -> None:
    check = checks.agrees(("hnet", "task", "split"), data, "cpu")
    assert (check.problem, check.difference) == ("", 0.0)
    assert checks.resumes("si", data, "cpu").problem == ""


def test_a_device_that_computes_otherwise_or_not_at_all_is_found(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        "cuda:99 is not available"
        in checks.agrees(("hnet", "task", "split"), data, "cuda:99").problem
    )
    real, runs = checks.run, iter(range(2))

    def half_trained(config, **options):  # type: ignore[no-untyped-def]
        if next(runs) == 1:
            options["first_tasks"] = 2
            config = type(config).from_dict({**config.to_dict(), "train/iterations": 1})
        return real(config, **options)

    monkeypatch.setattr(checks, "run", half_trained)
    check = checks.agrees(("finetune", "task", "split"), data, "cpu")
    assert "accuracies differ by" in check.problem


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_everything_runs_with_torch_and_numpy_alone(tmp_path: Path) -> None:
    hidden = "".join(f"sys.modules[{name!r}] = None\n" for name in ABSENT)
    code = f"import runpy, sys\n{hidden}sys.argv[1:] = ['--device', 'cpu', '--quick', '--out',"
    code += f" {str(tmp_path)!r}]\nrunpy.run_module('bench.gpu', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=580
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert len(found["checks"]) == len(checks.cells()) + len(METHOD_CONFIGS)
    assert "checks hold" in (tmp_path / "gpu.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_script_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "--device cuda: torch finds no GPU; use a machine that has one" in done.stderr


# --- on a GPU ------------------------------------------------------------------------------------

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")


@on_gpu
@pytest.mark.cuda
@pytest.mark.parametrize("cell", checks.cells(), ids=" ".join)
def test_a_gpu_scores_as_the_cpu(cell: tuple[str, str, str], data: Path) -> None:
    assert checks.agrees(cell, data, "cuda").problem == ""


@on_gpu
@pytest.mark.cuda
@pytest.mark.parametrize("method", METHOD_CONFIGS)
def test_a_training_resumes_on_a_gpu(method: str, data: Path) -> None:
    assert checks.resumes(method, data, "cuda").problem == ""


@on_gpu
@pytest.mark.cuda
@pytest.mark.timeout(300)
@pytest.mark.parametrize("check", [checks.bounded, shared])
def test_trainings_share_a_gpu(check: object, data: Path) -> None:
    assert check(data, "cuda").problem == ""  # type: ignore[operator]


@on_gpu
@pytest.mark.cuda
@pytest.mark.timeout(600)
def test_four_trials_of_a_sweep_share_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sweeps.cli", "sweep", "split_digits-hnet"]
    command += ["--num-trials", "4", "--gpus-per-trial", "0.25", "--storage", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=580, env=os.environ
    )
    assert done.returncode == 0 and "4 of 4 trials ended" in done.stdout, done.stdout + done.stderr
