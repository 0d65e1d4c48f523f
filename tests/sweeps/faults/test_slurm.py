"""A sweep on a real SLURM cluster of three nodes, which loses a node's step and then its time."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server
from slurm_nodes import Slurm, running_slurm
from whole_sweeps import (
    NAME,
    check_same,
    check_whole,
    is_alive,
    parent_of,
    records_of,
    rows_of,
    trainer_of,
    wait_for,
)

REPO = Path(__file__).resolve().parents[3]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    with running_slurm(3) as slurm:
        yield slurm


def submit(slurm: Slurm, folder: Path, files: Path, uri: str) -> str:
    """Submit the sweep as a lab would; return the job's number."""
    (folder / "project").mkdir()
    (folder / "project/.venv").symlink_to(sys.prefix)
    (folder / "setup.sh").write_text(f"export MODULES_LOADED={folder / 'loaded'}\n")
    # As a container's command: it runs what follows, and shows that it did.
    (folder / "container").write_text('#!/bin/bash\necho "$1" >> "$MODULES_LOADED"\nexec "$@"\n')
    (folder / "container").chmod(0o755)
    (folder / "shared").mkdir()
    (folder / "shared/some.npz").write_bytes(b"data")
    own = {
        "HCL_PROJECT": str(folder / "project"),
        "HCL_STORAGE": str(folder / "storage"),
        "HCL_SETUP": str(folder / "setup.sh"),
        "HCL_RUN": str(folder / "container"),
        "HCL_DATA": str(folder / "shared"),
        "HCL_LOCAL": str(folder / "local"),
        "RAY_AUTH_TOKEN_PATH": str(folder / "auth_token"),
        "MLFLOW_TRACKING_URI": uri,
    }
    options = ["--partition=main", "--nodes=3", "--cpus-per-task=1", "--gpus-per-node=0"]
    options += ["--mem=0", "--time=60", "--signal=B:USR1@60", f"--output={folder}/job.log"]
    script = [str(REPO / "deploy/slurm.sbatch"), str(files / f"{NAME}.yaml"), "--num-trials", "4"]
    said = slurm.call("sbatch", "--parsable", *options, *script, **own)
    return said.strip()


def node_of(pid: int) -> str:
    """Name the SLURM node of a trial's process."""
    variables = Path(f"/proc/{parent_of(pid)}/environ").read_bytes().split(b"\0")
    (name,) = [v for v in variables if v.startswith(b"SLURMD_NODENAME=")]
    return name.decode().partition("=")[2]


def minutes(job: dict[str, str]) -> int:
    hours, spent, _ = job["RunTime"].split(":")
    return 60 * int(hours) + int(spent)


def test_a_job_loses_a_node_and_its_time_and_goes_on(
    slurm: Slurm, server: Server, files: Path, undisturbed: Path, tmp_path: Path
) -> None:
    storage, log = tmp_path / "storage", tmp_path / "job.log"
    number = submit(slurm, tmp_path, files, server.uri)
    trainers = {}
    for trial in (0, 1):
        wait_for(lambda trial=trial: rows_of(storage, trial) >= 1, 600)
        trainers[trial] = trainer_of(storage, trial)
        os.kill(trainers[trial], signal.SIGSTOP)  # it must not end before the time is up
    nodes = [node_of(trainer) for trainer in trainers.values()]
    assert nodes[0] != nodes[1]

    # A node's step is killed; its trial is tried again, and its node comes back.
    steps = slurm.steps(number)
    (head,) = [node for node, found in steps.items() if f"{number}.batch" in found]
    lost = int(nodes[0] == head)
    slurm.call("scancel", "--signal=KILL", *steps[nodes[lost]])
    wait_for(lambda: not is_alive(trainers[lost]))
    wait_for(lambda: "resume" in [record["kind"] for record in records_of(storage, lost)], 600)

    # SLURM's own clock ends the job.
    slurm.call("scontrol", "update", f"JobId={number}",
               f"TimeLimit={minutes(slurm.job(number)) + 2}")  # fmt: skip
    wait_for(lambda: "stopping cleanly" in log.read_text(), 300)
    os.kill(trainers[1 - lost], signal.SIGCONT)
    wait_for(lambda: slurm.job(number)["Restarts"] == "1", 300)
    slurm.call("scontrol", "update", f"JobId={number}", "TimeLimit=60")
    assert "of 4 trials ended; go on with:" in log.read_text()

    wait_for(lambda: slurm.job(number)["JobState"] == "COMPLETED", 900)
    assert "4 of 4 trials ended" in log.read_text()
    check_whole(storage, server.uri)
    check_same(storage, undisturbed)
    assert (tmp_path / "local/some.npz").read_bytes() == b"data"
    assert {"ray", "python", "hcl"} <= set((tmp_path / "loaded").read_text().split())
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert f"/tmp/ray-{number}/" not in shown and not Path(f"/tmp/ray-{number}").exists()
