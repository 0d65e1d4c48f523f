"""The `hcl` command as a user meets it: help, mistakes in one line, exit codes, a whole trial."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from hcl.config import TrialConfig
from sweeps import cli, tracking
from sweeps.launch.outcome import Outcome
from sweeps.launch.request import store_of
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal

ROOT = Path(__file__).parents[3]
SPACES = ROOT / "search_spaces"
COMMANDS = (
    "sweep", "confirm", "validate", "run", "reproduce", "compare", "report", "ui", "sync", "demo",
    "files", "settings", "check", "new", "export", "best", "study",
)  # fmt: skip

TRIAL = """
benchmark: {name: split_digits, num_tasks: 2, val_fraction: 0.2}
target: {hidden_sizes: [8]}
method: {name: finetune}
train: {iterations: 5, batch_size: 8}
"""
BROKEN = """
from dataclasses import dataclass
from typing import ClassVar

from hcl.config.methods import MethodConfig
from hcl.methods.finetune import Finetune


@dataclass(frozen=True)
class Config(MethodConfig):
    LABEL: ClassVar[str] = "Broken"


class Broken(Finetune):
    Config = Config

    def train_step(self, x, y):
        return self.netwrok(x)
"""

pytestmark = [
    pytest.mark.timeout(60),  # the first one imports MLflow
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def hcl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run `hcl("sweep", ...)` in an empty folder; return exit status, stdout, stderr."""
    for name in ("HCL_STORAGE", "HCL_DATA", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hcl", *map(str, arguments)])
        code = cli.answer()
        out, err = capsys.readouterr()
        return code, out, err

    return call


# --- help and start ----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_help_names_every_command_in_groups_and_cuts_nothing(hcl, monkeypatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = hcl("-h")
    assert code == 0 and "..." not in out.partition("Run:")[2]
    assert all(f"  {command} " in out for command in COMMANDS)
    titles = [line for line in out.splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == [f"{title}:" for title in ("Options", *cli.GROUPS)]
    assert max(map(len, out.splitlines())) <= width
    told = " ".join(hcl("data", "-h")[1].partition("Commands:")[2].split())
    assert "all trials of this node share" in told and "..." not in told


def test_a_shell_completes_commands_sweeps_and_files(tmp_path: Path) -> None:
    (tmp_path / "storage/sweeps/mine").mkdir(parents=True)
    (tmp_path / "storage/sweeps/mine/sweep.json").write_text("{}")

    code = "import sys; sys.argv = ['hcl']; from sweeps.cli import main; main()"

    def completed(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - (line[-1] != " "))}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **words, "_HCL_COMPLETE": "complete_bash"},
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.split()

    assert completed("hcl rep") == ["report", "reproduce"]
    assert completed("hcl report mi") == ["mine"]
    assert completed("hcl sweep split_mnist-e") == [
        "split_mnist-er", "split_mnist-er_ace", "split_mnist-ewc"
    ]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(hcl, command: str) -> None:
    code, out, _ = hcl(command, "--help")
    assert code == 0
    assert f"  hcl {command}" in out and "Example" in out


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "nothing.yaml"], "nothing.yaml: cannot be read: No such file"),
        (
            ["sweep", SPACES / "split_digits-si.yaml", "--num-trials", 0],
            "num_trials: must be >= 1",
        ),
        (
            ["sweep", SPACES / "split_digits-si.yaml", "--seeds", "1;2"],
            "--seeds '1;2': give whole",
        ),
        (["sweep", SPACES / "split_digits-si.yaml", "--name", "a/b"], "--name 'a/b': use letters"),
        (["sweep", SPACES / "split_digits-si.yaml", "--resume"], "there is no sweep 'split_digi"),
        (["run", "nothing.json"], "nothing.json: cannot be read: No such file"),
        (["sync", "nothing"], "there is no sweep 'nothing' in"),
        (
            ["sweep", SPACES / "split_digits-si.yaml", "--storage", "/proc/x"],
            "--storage /proc/x: /proc/x/sweeps/split_digits-si cannot be written",
        ),
        (["ui"], "no run has been recorded in"),
        (["report", "nothing"], "check --storage and --tracking-uri"),
        (["validate", "."], "there is no .yaml file in ."),
        (["run", SPACES / "split_digits-si.yaml"], "is a search space: hcl sweep split_digits-si"),
        (["run", SPACES / "tables/table1.yaml"], "is a table of the paper: hcl reproduce table1"),
        (
            ["new", "sweep", "--method", "hnte"],
            "--method 'hnte': there is none; did you mean hnet",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_2(hcl, arguments: list[object], message: str) -> None:
    code, out, err = hcl(*arguments)
    assert code == 2
    assert message in err and err.startswith("hcl: ")
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in out + err


def test_every_mistake_of_a_file_is_shown_before_ray_starts(hcl, tmp_path: Path) -> None:
    text = (SPACES / "split_digits-hnet.yaml").read_text()
    wrong = text.replace("low: 1.0e-4", "low: -1").replace("num_trials: 8", "num_trials: many")
    (tmp_path / "wrong.yaml").write_text(wrong)
    code, _, err = hcl("sweep", "wrong.yaml")
    assert code == 2
    assert "hcl: search.method/beta.low: must be > 0" in err
    assert "hcl: sweep.num_trials: must be a whole number but got 'many'" in err
    assert not (tmp_path / "storage").exists()


def test_validate_shows_each_file_and_its_mistakes(hcl, tmp_path: Path) -> None:
    code, out, err = hcl("validate", SPACES)
    assert code == 0 and err == ""
    assert len(out.splitlines()) == len(list(SPACES.rglob("*.yaml")))
    (tmp_path / "wrong.yaml").write_text("trial: {method: {name: hnet}}\nsweep: {mode: up}\n")
    code, out, err = hcl("validate", "wrong.yaml", SPACES / "split_digits-si.yaml")
    assert code == 2
    lines = out.splitlines()
    assert lines[0] == "wrong.yaml: 2 to correct"
    assert any(line.startswith("  sweep.mode: must be one of max, min") for line in lines)
    assert "split_digits-si.yaml: ok, si on split_digits" in lines[-1]
    assert err == "not valid: 1 of 2 files\n"


def test_validate_reads_own_data(hcl, tmp_path: Path) -> None:
    """It finds what a run would refuse, and downloads nothing."""
    trial = "benchmark: {{sequence: split, data: {}, classes_per_task: [2, 2], val_fraction: 0.5}}"
    end = "method: {name: si}\n"
    for name in ("gone.npz", "few.npz", "fine.npz", "torchvision:FakeData"):
        (tmp_path / f"{name[:3]}.yaml").write_text(f"{trial.format(name)}\n{end}")
    few = f"trial: {{{trial.format('few.npz')}, {end.strip()}}}\n"
    (tmp_path / "space.yaml").write_text(
        f"{few}search: {{method/c: {{type: choice, values: [1, 2]}}}}"
    )
    for name, classes in (("few", 3), ("fine", 4)):
        x, y = np.zeros((12, 5)), np.arange(12) % classes
        np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    code, out, err = hcl("validate", "gon.yaml", "few.yaml", "space.yaml", "fin.yaml", "tor.yaml")
    assert code == 2 and err == "not valid: 3 of 5 files\n"
    assert "gon.yaml: 1 to correct\n  benchmark/data: there is no gone.npz in " in out
    assert out.count("few.npz has 3 classes but 2 tasks need 4; use fewer tasks or classes") == 2
    assert "fin.yaml: ok, " in out and "tor.yaml: ok, " in out


def test_validate_knows_studies(hcl) -> None:
    code, out, _ = hcl("validate", "split_mnist-study")
    assert code == 0
    assert out.splitlines()[-1].endswith(
        "ok, a study of 6 methods, protocol full: 12 searches of 12 trials, 120 trainings on fresh"
        " seeds"
    )


def test_dry_run_shows_the_plan_and_leaves_nothing_behind(hcl, tmp_path: Path) -> None:
    code, out, _ = hcl("sweep", SPACES / "split_digits-hnet.yaml", "--dry-run", "--seeds", "1,2")
    assert code == 0
    assert "8 trials of seeds 1, 2" in out
    assert "trial 0 is given: method/beta 0.01" in out
    assert "method/beta: 0.0001 to 1, log\n" in out
    assert "method/embedding_size: 4 to 32 in steps of 4\n" in out
    assert "method/hidden_sizes: one of [10, 10], [25, 25], [50, 50]\n" in out
    assert list(tmp_path.iterdir()) == []


def test_exit_status_of_a_sweep_says_how_it_ended() -> None:
    def outcome(status: str, failed: dict[int, str]) -> int:
        return Outcome(status, [], failed, 1, 0).exit_code

    assert outcome("FINISHED", {}) == 0
    assert outcome("FINISHED", {3: "diverged"}) == 1
    assert outcome("KILLED", {3: "diverged"}) == 130


def test_new_writes_a_space_that_validates(hcl, tmp_path: Path) -> None:
    code, out, _ = hcl("new", "sweep", "--method", "si", "--benchmark", "split_digits")
    (tmp_path / "mine.yaml").write_text(out)
    assert code == 0 and hcl("validate", "mine.yaml")[0] == 0
    code, out, _ = hcl("settings", "--json-schema")
    assert code == 0 and json.loads(out)["$defs"]["trial"]


# --- one trial with MLflow ---------------------------------------------------------------------


def test_run_trains_records_and_trains_nothing_twice(hcl, tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_text(TRIAL)
    code, out, err = hcl("run", "trial.yaml", "--set", "train/lr=1e-2", "--seeds", "1,2")
    assert code == 0, err
    assert "seed 1:" in out and "seed 2:" in out and "test/task/average_accuracy" in out
    assert "task 2/2 trained" in err
    means = out[out.index("mean ± SEM of 2 seeds:") :]
    assert re.search(r"\n  test/task/average_accuracy \d+\.\d+ ± \d+\.\d+ %\n", means)
    assert "wall_seconds" not in means and "num_weights" not in means

    folder = SweepFolder(tmp_path / "storage", "single")
    found = sorted(folder.path.rglob("result.json"))
    assert [path.parent.name for path in found] == ["seed_1", "seed_2"]
    values = json.loads(found[0].read_text())
    assert values["config"]["train/lr"] == 0.01
    frame = tracking.runs_frame(store_of(folder, None), "single")
    assert list(frame["status"]) == ["FINISHED", "FINISHED"]
    assert set(frame["tags.phase"]) == {"single"} and list(frame["tags.seed"]) == [1, 2]
    config = TrialConfig.from_dict(values["config"])
    assert set(frame["tags.config_id"]) == {config.digest(without_seed=True)}

    # A result is a configuration too, and was trained already.
    code, again, err = hcl("run", found[0])
    assert code == 0 and "trained" not in err
    assert again == out[: out.index("seed 2:")]
    code, out, _ = hcl("sync")
    assert (code, out) == (0, "single: MLflow has 2 of 2 runs\n")


def test_run_names_the_check_where_a_users_own_method_breaks(tmp_path: Path) -> None:
    """Its author also sees the lines that the error went through."""
    (tmp_path / "trial.yaml").write_text(TRIAL.replace("name: finetune", "name: broken:Broken"))
    (tmp_path / "broken.py").write_text(BROKEN)
    command = [sys.executable, "-m", "sweeps.cli", "run", "trial.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "broken:Broken failed; try it on tiny tasks: hcl check broken:Broken" in done.stderr
    assert "self.netwrok(x)" in done.stderr


def test_run_ends_with_status_1_after_a_diverged_training(hcl, tmp_path: Path) -> None:
    (tmp_path / "trial.json").write_text(json.dumps({"train/iterations": 5, "method/name": "si"}))
    change = ["--set", "train/lr=1e30", "--set", "benchmark/name=split_digits"]
    code, _, err = hcl("run", "trial.json", *change)
    assert code == 1
    assert "seed 1 failed: the " in err and "Traceback" not in err
    frame = tracking.runs_frame(store_of(SweepFolder(tmp_path / "storage", "single"), None))
    assert list(frame["status"]) == ["FAILED"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train/lr", "--set 'train/lr': write KEY=VALUE"),
        ("train/lrr=1", "train/lrr: unknown key; did you mean lr?"),
        ("train/lr=fast", "train/lr: must be a number but got 'fast'"),
        ("target/hidden_sizes=[", "--set 'target/hidden_sizes=[': line 1"),
        ("method/name=hnte", "method/name: unknown method 'hnte'"),
    ],
)
def test_run_refuses_a_wrong_setting(hcl, tmp_path: Path, change: str, message: str) -> None:
    (tmp_path / "trial.yaml").write_text(TRIAL)
    code, _, err = hcl("run", "trial.yaml", "--set", change)
    assert code == 2 and message in err
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize("device", ["cuda:x", "cuda:99"])
def test_run_on_a_device_that_is_not_there_records_nothing(hcl, tmp_path, device: str) -> None:
    (tmp_path / "trial.yaml").write_text(TRIAL)
    code, _, err = hcl("run", "trial.yaml", "--device", device)
    assert code == 2 and device in err and len(err.splitlines()) == 1
    assert not (tmp_path / "storage").exists()


def test_run_names_a_damaged_result(hcl, tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_text(TRIAL)
    assert hcl("run", "trial.yaml")[0] == 0
    (path,) = tmp_path.glob("storage/sweeps/single/trials/*/seed_1/result.json")
    for text in ('{"a": ', '{"a": 1}', "[]"):
        path.write_text(text)
        code, _, err = hcl("run", "trial.yaml")
        assert code == 2 and f"{path} is damaged" in err and len(err.splitlines()) == 1


def test_run_mends_a_damaged_journal(hcl, tmp_path: Path, caplog) -> None:
    (tmp_path / "trial.yaml").write_text(TRIAL)
    code, first, _ = hcl("run", "trial.yaml")
    assert code == 0
    (path,) = tmp_path.glob("storage/sweeps/single/trials/*/seed_1/journal.jsonl")
    path.write_text("junk\n" + path.read_text().partition("\n")[2])
    code, again, err = hcl("run", "trial.yaml")
    assert code == 0 and again == first
    assert caplog.text.count(f"{path}, line 1 is damaged") == 1 and "Traceback" not in err
    assert [r["kind"] for r in Journal(path.parent).records()[:3]] == ["start", "mended", "task"]


@pytest.mark.parametrize("command", ["report", "sync"])
def test_a_damaged_sweep_json_is_named(hcl, tmp_path: Path, command: str) -> None:
    file = tmp_path / "storage" / "sweeps" / "mine" / "sweep.json"
    file.parent.mkdir(parents=True)
    file.write_text("{bad")
    code, _, err = hcl(command, "mine")
    assert code == 2 and f"{file} is damaged" in err and len(err.splitlines()) == 1


def test_ui_refuses_a_port_in_use(hcl, tmp_path: Path) -> None:
    tracking.prepare(tracking.local_store(tmp_path / "storage", "exp"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = hcl("ui", "--port", port)
    assert code == 2 and out == "" and f"--port {port}: " in err


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ui_serves_the_recorded_runs_on_this_machine_only(tmp_path: Path) -> None:
    tracking.prepare(tracking.local_store(tmp_path / "storage", "exp"))
    command = [sys.executable, "-m", "sweeps.cli", "ui", "--port", "5987"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("MLflow UI: http://127.0.0.1:5987")
        deadline = time.monotonic() + 100
        while True:
            try:
                with urllib.request.urlopen("http://127.0.0.1:5987/health", timeout=5) as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.5)
        ask = urllib.request.Request(
            "http://127.0.0.1:5987/api/2.0/mlflow/experiments/search",
            data=b'{"max_results": 10}',
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(ask, timeout=10) as answer:
            names = [e["name"] for e in json.load(answer)["experiments"]]
        assert "exp" in names
        with pytest.raises(ConnectionRefusedError):  # a server on every address would have it
            socket.create_connection(("127.0.0.2", 5987), timeout=5).close()
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)
        assert process.stdout is not None
        process.stdout.close()
    assert process.returncode == 0
