"""Find the trained learner of a run: in the folder of its training, else in MLflow."""

from pathlib import Path

from hcl.config import ConfigError
from hcl.learners import Learner, load
from sweeps.records.folder import SweepFolder
from sweeps.tracking.database import connect
from sweeps.tracking.outages import outages_as_config_error
from sweeps.tracking.store import Store, is_made, local_store


def find_learner(run: str, storage: Path, tracking_uri: str | None) -> Learner:
    """Load the learner that a user names.

    Args:
        run: a folder or file; the name of a run, SWEEP/0003/seed_1; or the id of an MLflow run.
        storage: folder of all sweeps.
        tracking_uri: MLflow's store; None = the file in `storage`.

    Raises:
        ConfigError: there is none, or it cannot be read; one sentence.
    """
    if Path(run).exists():
        return load(run)
    if "/" in run:
        return load(_folder(run, storage))
    store = Store(tracking_uri, None, "any") if tracking_uri else local_store(storage, "any")
    if not is_made(store):
        raise ConfigError(f"there is no run {run!r}: no run has been recorded in {storage}")
    with outages_as_config_error(store):
        key = connect(store).get_run(run).data.tags.get("run_key", "")
    folder = _folder(key, storage) if key else storage
    return load(folder if key and folder.is_dir() else run, tracking_uri=store.tracking_uri)


def _folder(run_key: str, storage: Path) -> Path:
    sweep, *rest = run_key.split("/")
    return SweepFolder(storage, sweep).path.joinpath("trials", *rest)
