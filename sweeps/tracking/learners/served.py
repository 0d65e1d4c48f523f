"""The code of a logged model: it answers what `mlflow models serve` is asked.

MLflow copies this file into the model and runs it where the model is loaded; hcl must be
installed there. No object is pickled.
"""

from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

import hcl


class ServedLearner(PythonModel):
    """A learner behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the learner from the model's files."""
        self.learner = hcl.load(context.artifacts["learner"])

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> dict[str, list[Any]]:
        """Answer inputs.

        Args:
            context: not read.
            model_input: float32 (N, *input_shape) as networks take it, images in [0, 1].
            params: `task`, the inputs' task; -1 where it is not known.

        Returns:
            `Learner.predict`'s answers by name, without those that are None; labels as the data
            call them.
        """
        task = (params or {}).get("task", -1)
        answers = self.learner.predict(np.asarray(model_input), None if task < 0 else task)
        found = answers._asdict().items()
        lists = {name: value.tolist() for name, value in found if value is not None}
        return lists | {"labels": self.learner.name_labels(answers.labels)}


set_model(ServedLearner())
