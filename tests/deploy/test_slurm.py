"""The SLURM script runs for real on one machine, with stand-ins for srun and scontrol."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
SPACE = """
trial:
  benchmark: {name: split_digits, num_tasks: 2, val_fraction: 0.2}
  target: {hidden_sizes: [8]}
  method: {name: hnet, hidden_sizes: [4], chunk_size: 100, embedding_size: 4}
  train: {iterations: ITERATIONS, batch_size: 16}
search:
  method/beta: {type: float, low: 1e-4, high: 1.0, log: true}
sweep: {num_trials: 1}
"""
# srun runs the command after its options here; scontrol names this host and logs a requeue.
SRUN = """#!/bin/bash
echo "srun $*" >> "$CALLS"
while [[ "$1" == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >> "$CALLS"
[ "$1" = show ] && hostname
exit 0
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def job(tmp_path: Path) -> Callable[[int, int], subprocess.Popen[str]]:
    """Start the script as SLURM would, in a job of one node."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)

    def start(iterations: int, number: int) -> subprocess.Popen[str]:
        (tmp_path / "tiny.yaml").write_text(SPACE.replace("ITERATIONS", str(iterations)))
        own = {
            "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CALLS": str(tmp_path / "calls"),
            "HCL_PROJECT": str(REPO),
            "RAY_AUTH_TOKEN_PATH": str(tmp_path / "auth_token"),
            "SLURM_SUBMIT_DIR": str(tmp_path),
            "SLURM_JOB_ID": str(number),
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_JOB_NODELIST": "node",
            "SLURM_CPUS_PER_TASK": "1",
        }
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "HCL_"))}
        return subprocess.Popen(
            ["bash", str(REPO / "deploy" / "slurm.sbatch"), str(tmp_path / "tiny.yaml")],
            env=inherited | own,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return start


def leftovers(number: int) -> list[str]:
    """List processes and files of the job's Ray that are still there."""
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    files = [str(path) for path in [Path(f"/tmp/ray-{number}")] if path.exists()]
    return [line for line in shown.splitlines() if f"/tmp/ray-{number}/" in line] + files


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.3)


def test_a_job_runs_its_sweep_and_leaves_nothing_running(
    job: Callable[[int, int], subprocess.Popen[str]], tmp_path: Path
) -> None:
    number = os.getpid()
    process = job(5, number)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "1 of 1 trials ended" in output
    assert (tmp_path / "auth_token").stat().st_mode & 0o777 == 0o600
    assert "requeue" not in (tmp_path / "calls").read_text()
    until(lambda: not leftovers(number), 30)


@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGTERM])
def test_a_job_whose_time_is_up_stops_in_order_and_queues_again_and_a_cancelled_one_does_not(
    job: Callable[[int, int], subprocess.Popen[str]], tmp_path: Path, sent: signal.Signals
) -> None:
    number = os.getpid() + sent
    process = job(1_000_000, number)
    try:
        until(lambda: bool(list(tmp_path.rglob("journal.jsonl"))), 240)
        process.send_signal(sent)
        output, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert "interrupted, 0 of 1 trials ended; go on with:" in output, output
    is_queued = f"scontrol requeue {number}" in (tmp_path / "calls").read_text()
    assert is_queued == (sent == signal.SIGUSR1)
    until(lambda: not leftovers(number), 30)


def test_more_than_one_node_needs_a_server_for_the_runs(tmp_path: Path) -> None:
    own = {"SLURM_JOB_NUM_NODES": "2", "SLURM_SUBMIT_DIR": str(tmp_path)}
    inherited = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    command = ["bash", str(REPO / "deploy" / "slurm.sbatch"), "tiny.yaml"]
    done = subprocess.run(command, env=inherited | own, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("set MLFLOW_TRACKING_URI")
