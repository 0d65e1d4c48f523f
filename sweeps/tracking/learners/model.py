"""A trained learner as a folder that MLflow serves: safetensors, and code."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.utils import environment

from hcl.config import plugins
from hcl.config.trial import imported_paths
from hcl.learners import Learner
from sweeps.tracking.learners.find import FILE_NAME

CODE = Path(__file__).with_name("served.py")
REQUIREMENTS = ["mlflow", "numpy", "safetensors", "torch"]  # and hcl itself


def write_model(learner: Learner, folder: Path, description: Model | None = None) -> None:
    """Write a model of MLflow, with the user's own code that the learner needs.

    Args:
        learner: any.
        folder: where it goes; new, or empty.
        description: the run it is of; None = of none.

    Raises:
        ConfigError: the learner cannot be written.
        MlflowException: the folder holds something.
    """
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for an example of inputs
        path = Path(name)
        learner.save(path / FILE_NAME)
        with _no_look_at_packages():
            pyfunc.save_model(
                folder,
                python_model=str(CODE),
                artifacts={"learner": str(path / FILE_NAME)},
                code_paths=_write_code(learner, path / "code"),
                signature=_signature(learner),
                pip_requirements=REQUIREMENTS,
                mlflow_model=description,
            )


@contextmanager
def _no_look_at_packages() -> Iterator[None]:
    """Let MLflow not compare the requirements, which name no versions, with what is installed.

    It would look at every file of every package, which takes a second.
    """
    before = environment.warn_dependency_requirement_mismatches
    environment.warn_dependency_requirement_mismatches = lambda model_requirements: None
    try:
        yield
    finally:
        environment.warn_dependency_requirement_mismatches = before


def _write_code(learner: Learner, folder: Path) -> list[str] | None:
    """Write the user's own code that a learner needs: MLflow makes it importable again."""
    files = plugins.to_keep(imported_paths(learner.config.to_dict()))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return sorted(map(str, folder.iterdir())) if files else None


def _signature(learner: Learner) -> ModelSignature:
    inputs = Schema([TensorSpec(np.dtype("float32"), (-1, *learner.input_shape))])
    return ModelSignature(inputs, params=ParamSchema([ParamSpec("task", "long", -1)]))
