"""Find a trained learner: in its file, in the folder of its training, in MLflow."""

import os
import tempfile
from pathlib import Path

from hcl.config import ConfigError
from hcl.learners.learner import Learner
from hcl.learners.state_file import read_state
from hcl.storage import checkpoint
from hcl.storage.files import first_line

FILE_NAME = "learner.safetensors"  # of a learner that MLflow has


def load(source: Path | str, device: str = "cpu", tracking_uri: str | None = None) -> Learner:
    """Load a trained learner.

    Args:
        source: a file that `Learner.save` or `hcl export` wrote; the folder of a training
            (.../trials/0003/seed_1, or a `checkpoint_dir`); or the id of an MLflow run.
        device: where it goes, such as "cuda".
        tracking_uri: MLflow store of the run; None = MLFLOW_TRACKING_URI, else mlflow.db in the
            storage folder (HCL_STORAGE, else ./storage).

    Raises:
        ConfigError: it is not there, not a learner, damaged, or in the middle of a task.
    """
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, device)
    if path.is_file():
        return Learner.from_state(read_state(path), device)
    if _is_run_id(str(source)):
        return _from_mlflow(str(source), device, tracking_uri)
    raise ConfigError(f"there is no learner {source}: no such file, folder or MLflow run")


def _from_folder(folder: Path, device: str) -> Learner:
    inner = folder / "checkpoints"
    state = checkpoint.load_latest(inner if inner.is_dir() else folder)
    if state is None:
        raise ConfigError(f"{folder} has no checkpoint of a training; name the folder of a seed")
    if "learner" not in state:
        raise ConfigError(
            f"the checkpoint in {folder} was written by an hcl that could not load learners; train"
            " it again in another folder"
        )
    if state["step"]:
        raise ConfigError(
            f"the training in {folder} is in the middle of task {state['tasks_learned']}; finish"
            " it first"
        )
    kept = {"method": state["method"], "random": state["random"]}
    return Learner.from_state({**state["learner"], **kept}, device)


def _from_mlflow(run_id: str, device: str, tracking_uri: str | None) -> Learner:
    try:
        import mlflow  # needed for this alone
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise ConfigError(f"loading MLflow's run {run_id} needs mlflow ({error})") from None
    storage = Path(os.environ.get("HCL_STORAGE", "storage")).absolute()
    named = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    uri = named or f"sqlite:///{storage / 'mlflow.db'}"
    if named is None and not (storage / "mlflow.db").is_file():
        raise ConfigError(f"there is no {storage / 'mlflow.db'} with run {run_id}; give its store")
    client = mlflow.MlflowClient(uri)
    try:
        experiment = client.get_run(run_id).info.experiment_id
        models = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
        if not models:
            raise ConfigError(
                f"MLflow's run {run_id} has no learner; sweep.log_models says which runs get one."
                " The folder of its training may have it"
            )
        address = models[0].artifact_location
        with tempfile.TemporaryDirectory() as folder:
            address += f"/artifacts/{FILE_NAME}"
            file = mlflow.artifacts.download_artifacts(address, None, None, folder, uri)
            return Learner.from_state(read_state(Path(file)), device)
    except MlflowException as error:
        raise ConfigError(f"MLflow does not give run {run_id}: {first_line(error)}") from None


def _is_run_id(text: str) -> bool:
    return len(text) == 32 and all(letter in "0123456789abcdef" for letter in text)
