"""The command `python -m hcl`: a result as JSON; a sentence and exit code 2 for a mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import go, trial

from hcl.__main__ import main
from hcl.results import Result

ROOT = Path(__file__).parents[1]
# Whatever is named here cannot be imported by the child process.
BLOCKER = """
import sys
from importlib.abc import MetaPathFinder

BLOCKED = set({names!r})

class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""
DRIVER = ["ray", "optuna", "mlflow", "yaml", "rich", "typer", "pandas", "sklearn", "scipy"]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def child(tmp_path: Path, *args: Any, blocked: list[str]) -> "subprocess.CompletedProcess[str]":
    (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(names=blocked))
    nowhere = "http://127.0.0.1:9"  # nothing listens there
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    env |= {name: nowhere for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    for name in ("no_proxy", "NO_PROXY", "HCL_DATA"):
        env.pop(name, None)
    command = [sys.executable, "-m", "hcl", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def write(path: Path, values: Any) -> Path:
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return path


@pytest.mark.timeout(60)
def test_with_torch_and_numpy_alone(tmp_path: Path, tiny_root: Path) -> None:
    """Not even torchvision is there: the data are a prepared file."""
    config = trial("hnet", benchmark="split_mnist", train__batch_size=4)
    file = write(tmp_path / "trial.json", config.to_dict())
    args = ("--config", file, "--data-root", tiny_root, "--threads", 1)
    done = child(tmp_path, *args, blocked=[*DRIVER, "torchvision", "PIL", "matplotlib"])
    assert done.returncode == 0, done.stderr
    result = Result.from_dict(json.loads(done.stdout))
    assert result.config == config.to_dict()
    assert [len(row) for row in result.accuracy["test/task"]] == [1, 2, 3]
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and lines[2].startswith("task 3/3 learned after ")
    assert "average accuracy: test/task " in lines[2]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_missing_data_and_no_network(tmp_path: Path) -> None:
    done = child(tmp_path, "--set", "seed=1", "--data-root", tmp_path / "empty", blocked=DRIVER)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("hcl: MNIST is missing: no mnist.npz")
    assert str(tmp_path / "empty") in line and "--data-root" in line


def test_a_mistake_is_reported_without_waiting_for_torch(tmp_path: Path) -> None:
    done = child(tmp_path, "--set", "method/bta=1", blocked=[*DRIVER, "torch", "numpy"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hcl: method/bta: unknown key; did you mean beta?\n"


def test_file_overrides_and_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = trial("finetune", seed=4)
    nested = {"method": {"name": "finetune"}, "train/lr": 0.5, "seed": 9}
    rest = {k: v for k, v in config.to_dict().items() if k not in {*nested, "method/name"}}
    file, out = write(tmp_path / "trial.json", {**rest, **nested}), tmp_path / "result.json"
    changes = [f"train/lr={config.train.lr}", "seed=4", "scenario=task"]
    assert main(["--config", str(file), "--out", str(out), "--set", *changes]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.endswith(f"wrote {out}\n")
    result = Result.from_dict(json.loads(out.read_text()))
    assert result.config == config.to_dict()
    assert result.accuracy == go(config).accuracy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json", "trial.json"]


def mistakes(tmp_path: Path) -> dict[str, tuple[list[str], str]]:
    broken = write(tmp_path / "broken.json", '{"seed": ')
    listed = write(tmp_path / "list.json", [1, 2])
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    twice = write(tmp_path / "twice.json", {"method": {"beta": 1}, "method/beta": 2})
    huge = write(tmp_path / "huge.json", '{"seed": 1e999}')
    write(tmp_path / "mnist.npz", "not an archive")
    digits = ["--set", "benchmark/name=split_digits", "train/iterations=1"]
    return {
        "missing file": (["--config", "no.json"], "cannot read no.json: No such file"),
        "folder": (["--config", str(tmp_path)], f"cannot read {tmp_path}: Is a directory"),
        "not JSON": (["--config", str(broken)], f"{broken} is not JSON: "),
        "not text": (["--config", str(tmp_path / "binary.json")], "binary.json is not JSON: "),
        "no object": (["--config", str(listed)], "must hold a JSON object but holds [1, 2]"),
        "key twice": (["--config", str(twice)], "method/beta: given twice, remove one"),
        "infinite": (["--config", str(huge)], "seed: must be a whole number but got inf"),
        "bad key": (["--set", "method/bta=1"], "method/bta: unknown key; did you mean beta?"),
        "bad value": (["--set", "train/lr=fast"], "train/lr: must be a number but got 'fast'"),
        "no value": (["--set", "train/lr"], "--set train/lr: write KEY=VALUE"),
        "scenario": (
            ["--set", "method/name=from_scratch", "scenario=class"],
            "scenario: from_scratch cannot be trained in the class scenario",
        ),
        "device": ([*digits, "--device", "gpu"], "unknown device 'gpu'; use cpu, cuda or"),
        "cuda": ([*digits, "--device", "cuda:99"], "device cuda:99 is not available here"),
        "threads": ([*digits, "--threads", "0"], "threads: must be >= 1 but got 0"),
        "damaged data": (
            ["--set", "seed=1", "--data-root", str(tmp_path)],
            "cannot be read as an .npz",
        ),
        "out": ([*digits, "--out", "no/where.json"], "--out no/where.json: must be a file in"),
        "out folder": ([*digits, "--out", str(tmp_path)], "must be a file in an existing folder"),
        "checkpoints": (
            [*digits, "--checkpoint-dir", str(broken)],
            f"--checkpoint-dir {broken}: must be a folder",
        ),
        "out unwritable": ([*digits, "--out", "/proc/r.json"], "--out: /proc cannot be written"),
        "checkpoints unwritable": (
            [*digits, "--checkpoint-dir", "/proc/no/where"],
            "--checkpoint-dir: /proc/no/where cannot be written",
        ),
        "every": ([*digits, "--checkpoint-every", "-1"], "--checkpoint-every: must be >= 0"),
    }


NAMES = [
    "missing file",
    "folder",
    "not JSON",
    "not text",
    "no object",
    "key twice",
    "infinite",
    "bad key",
    "bad value",
    "no value",
    "scenario",
    "device",
    "cuda",
    "threads",
    "damaged data",
    "out",
    "out folder",
    "checkpoints",
    "out unwritable",
    "checkpoints unwritable",
    "every",
]


@pytest.mark.parametrize("name", NAMES)
def test_one_mistake_one_line_exit_code_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every_mistake = mistakes(tmp_path)
    assert list(every_mistake) == NAMES
    args, words = every_mistake[name]
    assert main(args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("hcl: ") and words in line


def test_all_mistakes_of_a_file_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--set", "method/bta=1", "seed=-1", "train/lr=0"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_checkpoints_of_another_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    go(trial("finetune"), tmp_path)
    file = write(tmp_path / "trial.json", trial("finetune", seed=2).to_dict())
    assert main(["--config", str(file), "--checkpoint-dir", str(tmp_path)]) == 2
    assert "are of another trial" in capsys.readouterr().err


def test_divergence_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = trial("finetune", train__lr=1e30, train__iterations=30)
    file = write(tmp_path / "trial.json", config.to_dict())
    out = tmp_path / "result.json"
    assert main(["--config", str(file), "--out", str(out)]) == 1
    assert "hcl: the task loss is " in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "with --checkpoint-dir a trial can go on"),
        (("--checkpoint-dir", "c"), "the same command"),
    ],
)
def test_an_interrupted_trial_says_how_to_go_on(
    options: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hcl.training.learner.run", interrupted)
    assert main(["--set", "benchmark/name=split_digits", *options]) == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hcl: interrupted; ") and words in line


def test_help_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "python -m hcl --config trial.json" in text and "exit codes" in text
    assert main(["--speed"]) == 2
    assert capsys.readouterr().err == (
        "hcl: unrecognized arguments: --speed; see python -m hcl --help\n"
    )


def test_a_result_is_a_configuration_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "first.json", tmp_path / "again.json"
    small = ["benchmark/name=split_digits", "benchmark/num_tasks=2", "train/iterations=2"]
    options = ["--set", *small, "method/name=finetune", "train/lr=0.02", "--out", str(first)]
    assert main(options) == 0
    assert main(["--config", str(first), "--out", str(again)]) == 0
    results = [json.loads(path.read_text()) for path in (first, again)]
    assert results[0]["config"] == results[1]["config"]
    assert results[0]["accuracy"] == results[1]["accuracy"]
    capsys.readouterr()


def test_nothing_asked_is_help_and_no_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "examples:" in capsys.readouterr().err
