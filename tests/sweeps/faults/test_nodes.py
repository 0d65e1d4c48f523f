"""A killed node of a real Ray cluster, while its trial learns."""

import os
import signal
from pathlib import Path

import pytest
from nodes import running_cluster
from whole_sweeps import (
    check_same,
    check_whole,
    finish,
    is_alive,
    parent_of,
    records_of,
    rows_of,
    start,
    trainer_of,
    wait_for,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]


@pytest.mark.parametrize("comes_back", [True, False], ids=["comes back", "is gone"])
def test_a_killed_node_costs_only_time(
    files: Path, undisturbed: Path, tmp_path: Path, comes_back: bool
) -> None:
    storage = tmp_path / "storage"
    with running_cluster() as cluster:
        sweep = start(files, storage, "--address", cluster.address, **cluster.environment)
        wait_for(lambda: rows_of(storage, 0) >= 1)
        trainer = trainer_of(storage, 0)
        os.kill(trainer, signal.SIGSTOP)  # it must not end before the other has begun
        wait_for(lambda: rows_of(storage, 1) >= 1)
        raylet = parent_of(trainer)
        assert "raylet" in Path(f"/proc/{raylet}/comm").read_text()
        assert parent_of(trainer_of(storage, 1)) != raylet  # the other trial is on the other node
        os.kill(raylet, signal.SIGKILL)
        os.kill(trainer, signal.SIGKILL)  # a node takes its workers with it
        wait_for(lambda: not is_alive(trainer))
        if comes_back:
            cluster.add_node()
        out = finish(sweep)
    assert "4 of 4 trials ended" in out.splitlines()[-1]
    kinds = [record["kind"] for record in records_of(storage, 0)]
    assert kinds.count("start") == 1 and "resume" in kinds and kinds[-1] == "end"
    check_whole(storage)
    check_same(storage, undisturbed)
