"""A wrong --address is reported at once, not after minutes, and leaves nothing."""

import socket
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
