"""Deliver a sweep's records after an outage, or to another server."""

from hcl.config import ConfigError
from sweeps.records.entries import space_params
from sweeps.records.folder import SweepFolder
from sweeps.space.yaml_file import load_yaml
from sweeps.tracking.database import prepare
from sweeps.tracking.delivery import deliver_all
from sweeps.tracking.learners.logged import keep_learners
from sweeps.tracking.store import Store
from sweeps.tracking.sweep_run import close_sweep, start_sweep
from sweeps.tracking.views import space_columns

INFO_TAGS = ("git_commit", "git_dirty", "command")  # keys of sweep.json that become tags


def sync_sweep(folder: SweepFolder, store: Store) -> tuple[int, int]:
    """Deliver all journals of a sweep, and the sweep's own run.

    Returns:
        How many seeds MLflow has completely, and how many not.

    Raises:
        ConfigError: the store is not reachable.
    """
    prepare(store)
    parent_run_id = None
    info, is_search = folder.read_info(), folder.space_file.exists()
    if info or is_search:  # an older hcl wrote nothing of single runs
        space = load_yaml(folder.space_file) if is_search else {}
        tags = {key: info[key] for key in INFO_TAGS if key in info}
        tags["description"] = space.get("description")
        params, columns = space_params(space), space_columns(space) if is_search else None
        parent_run_id = start_sweep(store, folder.name, params, tags, columns)
    arrived = deliver_all(store, folder.journals(), parent_run_id)
    if parent_run_id is not None:
        kept = info.get("learners", [])
        keep_learners(store, [folder.path / "trials" / name for name in kept])
        _close(store, folder, parent_run_id)
    return sum(arrived), len(arrived) - sum(arrived)


def _close(store: Store, folder: SweepFolder, parent_run_id: str) -> None:
    """Close the sweep's run again, which `start_sweep` opened, unless the sweep is running."""
    try:
        with folder.lock():
            close_sweep(folder, store, parent_run_id)
    except ConfigError:
        return  # its driver is alive and will close it
