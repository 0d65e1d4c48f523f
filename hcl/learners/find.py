"""Find a trained learner: in its file, or in the folder of its training."""

from pathlib import Path

from hcl.config import ConfigError
from hcl.learners.learner import Learner
from hcl.learners.state_file import read_state
from hcl.storage import checkpoint


def load(source: Path | str, device: str = "cpu") -> Learner:
    """Load a trained learner; `sweeps.load` finds it by the name of a run or in MLflow.

    A learner whose method or network is code of your own needs that code: its folder on Python's
    path, as it is where the program's own file lies there.

    Args:
        source: a file that `Learner.save` or `hcl export` wrote, or the folder of a training
            (.../trials/0003/seed_1, or a `checkpoint_dir`).
        device: where it goes, such as "cuda".

    Raises:
        ConfigError: it is not there, not a learner, damaged, or in the middle of a task; or the
            code that it was trained with is not there, or has changed since.
    """
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, device)
    if path.is_file():
        return Learner.from_state(read_state(path), device)
    raise ConfigError(
        f"there is no learner {source}: no such file or folder; sweeps.load and hcl export find"
        " those of runs"
    )


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
