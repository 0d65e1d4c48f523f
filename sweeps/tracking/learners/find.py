"""Find the trained learner of a run: in the folder of its training, else in MLflow."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path

from mlflow import MlflowClient, artifacts

from hcl.config import ConfigError, plugins
from hcl.learners import Learner, load
from sweeps.records.folder import SweepFolder
from sweeps.tracking.database import connect
from sweeps.tracking.outages import outages_as_config_error
from sweeps.tracking.store import Store, is_made, local_store

FILE_NAME = "learner.safetensors"  # of a learner that MLflow has


def find_learner(
    run: str, storage: Path, tracking_uri: str | None, device: str = "cpu"
) -> Learner:
    """Load the learner that a user names.

    Args:
        run: a folder or file; the name of a sweep, of whose best trial one seed is taken; the name
            of a run, SWEEP/0003/seed_1; or the id of an MLflow run.
        storage: folder of all sweeps.
        tracking_uri: MLflow's store; None = the file in `storage`.
        device: where it goes.

    Raises:
        ConfigError: there is none, or it cannot be read; one sentence.
    """
    if Path(run).exists():
        return load_seed(Path(run), device)
    if "/" in run:
        return load_seed(_folder(run, storage), device)
    if (sweep := SweepFolder(storage, run)).path.is_dir():
        if not (kept := sweep.read_info().get("learners")):
            first = next((f"/{f.parent.name}/{f.name}" for f in sweep.journals()), "/0003/seed_1")
            raise ConfigError(
                f"{run!r} has no best trial with a learner; name a run of it, as in {run}{first}"
            )
        return load_seed(_folder(f"{run}/{kept[0]}", storage), device)
    store = Store(tracking_uri, None, "any") if tracking_uri else local_store(storage, "any")
    if not is_made(store):
        raise ConfigError(f"there is no run {run!r}: no run has been recorded in {storage}")
    with outages_as_config_error(store):
        client = connect(store)
        key = client.get_run(run).data.tags.get("run_key", "")
        if key and _folder(key, storage).is_dir():
            return load_seed(_folder(key, storage), device)
        return _from_model(client, run, device)


def load_seed(folder: Path, device: str = "cpu") -> Learner:
    """Load the learner of a training's folder, with the code that its sweep kept.

    Where that code can be imported from elsewhere already, it is taken from there.

    Raises:
        ConfigError: as `hcl.load`.
    """
    with suppress(OSError, ValueError, KeyError, TypeError, IndexError):
        code = json.loads((folder / "result.json").read_text())["config"]["code"]
        plugins.use(folder.absolute().parents[2] / "code" / code)
    return load(folder, device)


def _folder(run_key: str, storage: Path) -> Path:
    sweep, *rest = run_key.split("/")
    return SweepFolder(storage, sweep).path.joinpath("trials", *rest)


def _from_model(client: MlflowClient, run_id: str, device: str) -> Learner:
    """Load the learner that a run's logged model holds, wherever its files are."""
    experiment = client.get_run(run_id).info.experiment_id
    models = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    if not models:
        raise ConfigError(
            f"MLflow's run {run_id} has no learner; sweep.log_models says which runs get one. The"
            " folder of its training may have it"
        )
    address = f"{models[0].artifact_location}/artifacts/{FILE_NAME}"
    with tempfile.TemporaryDirectory() as folder:
        file = artifacts.download_artifacts(address, None, None, folder, client.tracking_uri)
        return load(file, device)
