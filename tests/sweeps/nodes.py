"""Ray clusters of several nodes on this machine, each run by a process that takes commands."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# This is a program and no function: Ray reads its environment when it is imported, and the
# tests' own process has imported it before.
PROGRAM = """
import sys
import threading
import time

from ray.cluster_utils import Cluster


def bury():
    # A killed raylet is a zombie until its parent asks for it; its workers would live on.
    while True:
        for node in list(cluster.worker_nodes):
            node.dead_processes()
        time.sleep(0.1)


cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
for _ in range(2):
    cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
threading.Thread(target=bury, daemon=True).start()
for line in sys.stdin:
    cluster.add_node(num_cpus=1)
    print("added", flush=True)
cluster.shutdown()
"""


@dataclass
class Cluster:
    """A head without CPUs for trials and two nodes of one CPU.

    Attributes:
        address: value for `hcl sweep --address`.
        environment: variables that let a driver in.
    """

    process: subprocess.Popen[str]
    environment: dict[str, str]
    address: str = field(default="")

    def add_node(self) -> None:
        """Add a node of one CPU; return when it is part of the cluster."""
        assert self.process.stdin is not None
        print("add", file=self.process.stdin, flush=True)
        self.wait_for("added")

    def wait_for(self, word: str = "") -> str:
        """Read its next line, which must be this one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line and line.startswith(word), f"the cluster said {line!r}"
        return line


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a cluster; its processes end with the context."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    quiet = {"RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | token | quiet,
    )
    try:
        cluster = Cluster(process, token)
        cluster.address = cluster.wait_for()
        yield cluster
    finally:
        process.communicate(timeout=120)  # the end of its input is the sign to stop
