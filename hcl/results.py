"""What a trial tells: progress, one report per learned task, and the result. Torch-free."""

from dataclasses import asdict, dataclass, field
from typing import Any

Matrix = list[list[float]]

# Names the numbers that a training gives: with equal settings, data and version, two results are
# equal up to rounding. Raise it together with every change that moves results by more than that
# (a loss, an initialization, the order of random draws, an optimizer's default); moved, renamed or
# faster code leaves it. tests/test_canary.py notices when it must be raised. Records of other
# versions stay readable, but a table does not mix them. Records without a version are of 1.
NUMERICS_VERSION = 1


@dataclass(frozen=True)
class Progress:
    """Where training is. Losses are those last read from the device."""

    task_id: int
    num_tasks: int
    step: int  # finished steps of this task
    iterations: int  # steps per task
    losses: dict[str, float]
    seconds: float  # training and evaluation time so far, restarts included


@dataclass(frozen=True)
class TaskReport:
    """A task has been learned and all tasks so far evaluated.

    `metrics` holds the new row of each accuracy matrix (`test/task/acc/task_03`: split, scenario),
    running averages (`test/task/average_accuracy`), `test/class/task_inference_accuracy` where a
    task was inferred, and the last losses (`loss/task`). Accuracies are fractions.
    `samples`, where a method replays: uint8 array (rows, columns, *input_shape) drawn from its
    replay model, a row per task where the model tells tasks apart.
    """

    task_id: int
    tasks_learned: int
    num_tasks: int
    metrics: dict[str, float]
    seconds: float
    steps_per_second: float
    samples: Any = None


@dataclass(frozen=True)
class Result:
    """A finished trial.

    Attributes:
        config: the trial, flat, each setting under its one name.
        accuracy: "test/task" -> lower-triangular matrix, accuracy[t][i] on task i after task t.
        inference: the same for the share of inputs whose task was inferred right.
        metrics: final numbers, `test/task/average_accuracy` etc. (hcl.metrics), compression ratio,
            sizes, seconds.
        data_digest: names the data the trial saw.
        versions: of the numbers (`numerics`), of Python and the libraries that matter to them;
            device.
    """

    config: dict[str, Any]
    accuracy: dict[str, Matrix]
    inference: dict[str, Matrix]
    metrics: dict[str, float]
    data_digest: str
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Result":
        """Inverse of `to_dict`."""
        return cls(**values)


def config_of(values: dict[str, Any]) -> dict[str, Any]:
    """The settings in what a file holds: a `Result` is taken for the trial that it is of."""
    if "accuracy" in values and isinstance(values.get("config"), dict):
        return values["config"]
    return values
