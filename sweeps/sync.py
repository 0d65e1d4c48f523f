"""Bring a sweep's records to MLflow after an outage, or to another server."""

from hcl.config import ConfigError
from sweeps.folder import SweepFolder
from sweeps.tracking import Store, deliver_all, prepare, start_sweep


def sync_sweep(folder: SweepFolder, store: Store) -> tuple[int, int]:
    """Deliver all journals of a sweep.

    Returns:
        How many seeds MLflow has whole, and how many not.

    Raises:
        ConfigError: the store is not reachable.
    """
    prepare(store)
    parent_run_id = None
    if folder.space_file.exists():  # not for single runs
        parent_run_id = start_sweep(store, folder.name, params={}, tags={})
        _close(store, folder, parent_run_id)
    arrived = deliver_all(store, folder.journals(), parent_run_id)
    return sum(arrived), len(arrived) - sum(arrived)


def _close(store: Store, folder: SweepFolder, parent_run_id: str) -> None:
    """`start_sweep` opens the sweep's run; a sweep that is not being run gets its end back."""
    from sweeps.tracking import end_sweep

    status = folder.read_info().get("status", "FINISHED")
    try:
        with folder.lock():
            end_sweep(store, parent_run_id, "KILLED" if status == "RUNNING" else status, {}, [])
    except ConfigError:
        return  # its driver is alive and will close it
