"""Runs of a store, read back with MLflow's own client."""

from typing import Any

from journals import CLOCK

from sweeps.tracking import Store
from sweeps.tracking.database import connect


def the_run(store: Store, key: str = "demo/0000/seed_1") -> Any:
    client = connect(store)
    experiment = client.get_experiment_by_name(store.experiment)
    (run,) = client.search_runs([experiment.experiment_id], f"tags.run_key = '{key}'")
    return run


def points(store: Store, key: str = "demo/0000/seed_1") -> dict[str, list[tuple]]:
    """Return the run's stored points: {metric: [(step, seconds since CLOCK, value)]}."""
    client, run = connect(store), the_run(store, key)
    return {
        name: [
            (point.step, point.timestamp / 1000 - CLOCK, point.value)
            for point in client.get_metric_history(run.info.run_id, name)
        ]
        for name in run.data.metrics
    }


def artifacts(store: Store, key: str = "demo/0000/seed_1") -> list[str]:
    client, run_id = connect(store), the_run(store, key).info.run_id
    found = client.list_artifacts(run_id) + client.list_artifacts(run_id, "images")
    return sorted(file.path for file in found if not file.is_dir)
