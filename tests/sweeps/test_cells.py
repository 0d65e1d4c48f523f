"""Fixed configurations through real Ray: trained once, in parallel, failures told apart."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from hcl.config import TrialConfig
from sweeps.cells import cell_folder, run_cells
from sweeps.driver import store_of
from sweeps.folder import SweepFolder
from sweeps.seed_run import Place
from sweeps.tracking import prepare, runs_frame

# Ray leaves sockets and files to the garbage collector, and pandas warns about its own use.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TINY = {
    "benchmark/name": "split_digits",
    "benchmark/num_tasks": 2,
    "target/hidden_sizes": [8],
    "train/iterations": 20,
    "train/batch_size": 16,
}


def cell(method: str, seed: int, **more: object) -> TrialConfig:
    values = {**TINY, "method/name": method, "seed": seed}
    values |= {key.replace("__", "/"): value for key, value in more.items()}
    return TrialConfig.from_dict(values)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_cells_are_trained_once_and_failures_told_apart(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "cells")
    store = store_of(folder, None)
    prepare(store)
    place = Place("cells", store, phase="confirm", threads=1)
    console = Console(quiet=True)
    # 1e30 overflows at once: the loss is not finite when it is first read.
    broken = cell("finetune", 1, train__lr=1e30, train__iterations=100)
    cells = [cell("finetune", 1), cell("si", 1), cell("finetune", 1), broken]

    results = run_cells(cells, folder, place, console)

    assert results[3] is None
    assert results[0] is not None and results[0] == results[2]
    assert results[1] is not None and results[1].config["method/name"] == "si"
    path = cell_folder(folder, cells[0]) / "result.json"
    first = path.stat().st_mtime_ns
    more = run_cells([cells[0], cell("finetune", 2)], folder, place, console)
    assert path.stat().st_mtime_ns == first
    assert json.loads(path.read_text())["config"]["seed"] == 1
    assert more[0] == results[0] and more[1] is not None and more[1] != results[0]

    frame = runs_frame(store, "cells")
    assert len(frame) == 4  # one run per cell, the doubled one once
    failed = frame[frame["tags.failure"].notna()]
    assert len(failed) == 1 and "smaller train/lr" in failed["tags.failure"].iloc[0]
