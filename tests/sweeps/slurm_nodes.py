"""A SLURM cluster on this machine: its own munge, controller and nodes, gone afterwards.

Debian's slurmd serves several nodes of one machine, each with a name and a port of its own. No
file of a SLURM that this machine may be part of is read or written.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "squeue")
CONF = """
ClusterName=hcl
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
SwitchType=switch/none
KillWait=30
"""
NODE = "NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=1000\n"
PARTITION = "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"


@dataclass(frozen=True)
class Slurm:
    """A running cluster, whose nodes n1, n2, ... have one CPU each."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead SLURM's commands here."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *words: str, **env: str) -> str:
        """Run a command of SLURM; return what it printed."""
        known = os.environ | self.environment | env
        done = subprocess.run(words, capture_output=True, text=True, env=known, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def job(self, number: str) -> dict[str, str]:
        """Return what SLURM knows of a job: JobState, Restarts, RunTime, ..."""
        shown = self.call("scontrol", "--oneliner", "show", "job", number)
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def steps(self, number: str) -> dict[str, list[str]]:
        """List the steps of a job, by the node that they run on."""
        found: dict[str, list[str]] = {}
        shown = self.call("squeue", "--steps", "--noheader", f"--jobs={number}", "-o", "%i %N")
        for line in shown.splitlines():
            step, node = line.split()
            found.setdefault(node, []).append(step)
        return found


@contextmanager
def running_slurm(num_nodes: int) -> Iterator[Slurm]:
    """Start a cluster; skip where SLURM is not installed or may not be started."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"no {missing[0]} here: apt-get install slurm-wlm munge")
    if os.getuid() != 0:
        pytest.skip("SLURM's daemons are started by root here")
    with tempfile.TemporaryDirectory(prefix="hcl-slurm-", ignore_cleanup_errors=True) as name:
        folder, slurm = Path(name), Slurm(Path(name))
        _write_files(folder, num_nodes)
        nodes = [("slurmd", "-D", "-N", f"n{i + 1}") for i in range(num_nodes)]
        with ExitStack() as ours:
            munge = [
                f"--{what}={folder}/munge.{what}" for what in ("socket", "log-file", "pid-file")
            ]
            munge += [f"--key-file={folder}/munge.key", f"--seed-file={folder}/munge.seed"]
            ours.enter_context(_daemon(slurm, "munged", "--foreground", *munge))
            _until((folder / "munge.socket").exists)
            for words in (("slurmctld", "-D"), *nodes):
                ours.enter_context(_daemon(slurm, *words))
            _until(lambda: _num_idle(slurm) == num_nodes)
            yield slurm
            _cancel_all(slurm)


def _write_files(folder: Path, num_nodes: int) -> None:
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    text = CONF.format(host=host, port=_free_port(), folder=folder)
    text += "".join(NODE.format(i=i + 1, host=host, port=_free_port()) for i in range(num_nodes))
    (folder / "slurm.conf").write_text(text + PARTITION)


@contextmanager
def _daemon(slurm: Slurm, *words: str) -> Iterator[None]:
    """Run a daemon in the foreground, and end it; a slurmstepd ends with its job."""
    with (slurm.folder / f"{words[0]}{Path(words[-1]).name}.log").open("w") as log:
        environment = os.environ | slurm.environment
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _num_idle(slurm: Slurm) -> int:
    known = os.environ | slurm.environment
    words = ["sinfo", "--noheader", "--Node", "-o", "%T"]
    done = subprocess.run(words, capture_output=True, text=True, env=known)
    return done.stdout.split().count("idle")


def _cancel_all(slurm: Slurm) -> None:
    if numbers := slurm.call("squeue", "--noheader", "-o", "%A").split():
        slurm.call("scancel", *numbers)
    _until(lambda: not slurm.call("squeue", "--noheader").strip())


def _until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "SLURM did not start or stop"
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
