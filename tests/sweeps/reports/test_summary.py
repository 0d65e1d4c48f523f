"""The MLflow run that trainings without a search belong to."""

import shutil
from pathlib import Path

import pytest
from journals import write_journal

from sweeps.records.folder import SweepFolder
from sweeps.reports.summary import parent_run
from sweeps.tracking import Store, deliver, local_store
from sweeps.tracking.database import connect
from sweeps.tracking.sweep_run import NOTE
from sweeps.tracking.sync import sync_sweep

pytestmark = pytest.mark.timeout(60)


def record(folder: SweepFolder, store: Store, parent: str) -> bool:
    made = write_journal(folder.storage, f"{folder.name}/0000/seed_1")
    shutil.move(made, folder.seed_folder("digest", 1))
    return deliver(store, folder.seed_folder("digest", 1), parent)


def test_a_parent_holds_the_results_of_its_trainings(storage: Path) -> None:
    folder, store = SweepFolder(storage, "singles"), local_store(storage, "singles")
    with parent_run(folder, store, "hcl run x.yaml") as parent:
        assert connect(store).get_run(parent).info.status == "RUNNING"
        assert record(folder, store, parent)
    run = connect(store).get_run(parent)
    assert run.info.status == "FINISHED" and run.data.tags["command"] == "hcl run x.yaml"
    assert run.data.metrics["test/task/average_accuracy"] == pytest.approx(0.97)
    assert "hcl run x.yaml" in run.data.tags[NOTE] and "97.00 (n = 1)" in run.data.tags[NOTE]
    experiment = connect(store).get_experiment(run.info.experiment_id)
    assert experiment.tags[NOTE] == run.data.tags[NOTE]
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_an_interrupted_parent_is_killed_and_goes_on(storage: Path) -> None:
    folder, store = SweepFolder(storage, "stopped"), local_store(storage, "stopped")
    with pytest.raises(KeyboardInterrupt), parent_run(folder, store, "hcl run x.yaml") as first:
        raise KeyboardInterrupt
    assert connect(store).get_run(first).info.status == "KILLED"
    with parent_run(folder, store, "hcl run x.yaml") as second:
        assert second == first


def test_an_outage_at_the_end_costs_nothing(tmp_path: Path) -> None:
    folder, store = SweepFolder(tmp_path, "away"), local_store(tmp_path, "away")
    database = tmp_path / "mlflow.db"
    with parent_run(folder, store, "hcl run x.yaml") as parent:
        database.rename(tmp_path / "elsewhere")
        assert not record(folder, store, parent)
    (tmp_path / "elsewhere").rename(database)
    assert connect(store).get_run(parent).info.status == "RUNNING"
    assert sync_sweep(folder, store) == (1, 0)
    run = connect(store).get_run(parent)
    assert run.info.status == "FINISHED" and "97.00" in run.data.tags[NOTE]
