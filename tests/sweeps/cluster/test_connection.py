"""A wrong --address is reported at once, not after minutes, and leaves nothing."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hcl.config import ConfigError
from sweeps.cluster.connection import started
from sweeps.launch.request import SweepRequest
from sweeps.launch.run_sweep import run_sweep
from sweeps.records.folder import SweepFolder
from sweeps.space.search_space import load

ROOT = Path(__file__).parents[3]

# The first test imports Ray.
pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_a_closed_port_is_one_sentence_with_the_fix() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConfigError) as caught, started(address):
        pass
    assert len(caught.value.errors) == 1
    assert f"no Ray cluster answers at --address {address} (" in str(caught.value)
    assert "or leave --address out" in str(caught.value)


def test_a_number_that_is_no_port_is_reported_too() -> None:
    address = "127.0.0.1:99999"
    message = f"no Ray cluster answers at --address {address}"
    with pytest.raises(ConfigError, match=message), started(address):
        pass


def test_a_sweep_that_finds_no_cluster_leaves_nothing(tmp_path: Path) -> None:
    space = load(ROOT / "search_spaces" / "split_digits-si.yaml")
    request = SweepRequest(space, SweepFolder(tmp_path, space.name), address="127.0.0.1:1")
    with pytest.raises(ConfigError, match="no Ray cluster answers"):
        run_sweep(request, Console())
    assert list(tmp_path.iterdir()) == []


PROCESSES = """
import os
from pathlib import Path
from sweeps.cluster.connection import started
from ray.tune.execution import class_cache

with started(None):
    for stat in Path("/proc").glob("[0-9]*/stat"):
        pid, _, rest = stat.read_text().partition(" (")
        program, _, fields = rest.rpartition(") ")
        if int(fields.split()[1]) == os.getpid():
            print(program)
    assert not class_cache.DEFAULT_ENV_VARS
assert class_cache.DEFAULT_ENV_VARS
"""


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_ray_on_this_machine_is_its_head_and_its_node_process_alone() -> None:
    done = subprocess.run([sys.executable, "-c", PROCESSES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["gcs_server", "raylet"]
