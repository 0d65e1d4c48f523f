"""A sweep of six trials with results, as `hcl sweep` leaves it, made without training."""

import shutil
from pathlib import Path
from typing import Any

from journals import write_journal

from sweeps.records.entries import space_params
from sweeps.records.folder import SweepFolder
from sweeps.reports.summary import summarise
from sweeps.tracking import deliver_all, local_store, prepare, start_sweep
from sweeps.tracking.sweep_run import close_sweep
from sweeps.tracking.views import space_columns

NAME = "digits"
TRIALS = 6
SPACE: dict[str, Any] = {
    "description": "How strong must the output regularizer be?",
    "trial": {"benchmark/name": "split_digits", "method/name": "hnet"},
    "search": {"method/beta": {"type": "float", "low": 1e-3, "high": 1.0, "log": True}},
    "sweep": {"num_trials": TRIALS, "objective": "val/task/average_accuracy", "mode": "max"},
}


def record_sweep(storage: Path) -> SweepFolder:
    """Record it in a storage folder and in MLflow."""
    folder, store = SweepFolder(storage, NAME), local_store(storage, NAME)
    prepare(store)
    folder.write_space(SPACE)
    command = f"hcl sweep {NAME}.yaml"
    tags = {"command": command, "description": SPACE["description"]}
    parent = start_sweep(store, NAME, space_params(SPACE), tags, space_columns(SPACE))
    folder.write_info(command=command, parent_run_id=parent, status="FINISHED")
    for trial in range(TRIALS):
        values = {"method/beta": 0.01 * 2**trial, "benchmark/num_tasks": 5}
        offset = -0.02 * trial
        made = write_journal(storage, f"{NAME}/{trial:04d}/seed_1", offset=offset, **values)
        shutil.move(made, folder.seed_folder(trial, 1))
    assert all(deliver_all(store, folder.journals(), parent))
    summarise(folder, store, {"trials_done": float(TRIALS)})
    close_sweep(folder, store, parent)
    return folder
