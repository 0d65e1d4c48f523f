"""Records that a trial gives: progress, a report per learned task, the result. Torch-free."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

Matrix = list[list[float]]

# Version of the numbers that a training gives: results of equal settings, data and version are
# equal up to rounding. Raise it with every change that moves results by more than rounding (a
# loss, an initialization, the order of random draws, an optimizer's default), but not for code
# that was moved, renamed or made faster. tests/test_canary.py notices when it must be raised.
# Records of other versions stay readable, but a table does not mix them. A record without a
# version has version 1.
NUMERICS_VERSION = 1


@dataclass(frozen=True)
class Progress:
    """The place that training has reached; its losses are those last read from the device.

    After an evaluation within a task (`train/eval_every`), and after the one at a task's end,
    `scores` holds its validation scores, named as in a `TaskReport`; else it is empty.
    """

    task_id: int
    num_tasks: int
    step: int  # finished steps of this task
    iterations: int  # steps per task
    losses: dict[str, float]
    seconds: float  # training and evaluation time so far, restarts included
    total_steps: int = 0  # finished steps of this and all earlier tasks
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskReport:
    """Report of a task that has been learned, with the scores of all tasks so far.

    `metrics` holds the new row of each accuracy matrix (`test/task/acc/task_03`: split, scenario),
    running averages (`test/task/average_accuracy`), `test/class/task_inference_accuracy` where a
    task was inferred, and the last losses (`loss/task`). Accuracies are fractions.
    `samples` are drawn from the replay model of a method that has one: uint8 (rows, columns,
    *input_shape), a row per task where the model tells tasks apart. `curves` are what a regression
    predicts at each learned task's test inputs, in their order: a list of numbers for each task.
    """

    task_id: int
    tasks_learned: int
    num_tasks: int
    metrics: dict[str, float]
    seconds: float
    steps_per_second: float
    samples: Any = None
    curves: list[list[float]] | None = None


@dataclass(frozen=True)
class Result:
    """Result of a finished trial.

    Attributes:
        config: the settings, flat, each under its one name.
        accuracy: "test/task" -> lower-triangular matrix, accuracy[t][i] on task i after task t.
        inference: the same of the share of inputs whose task was inferred right.
        metrics: final numbers, `test/task/average_accuracy` etc. (hcl.metrics), compression ratio,
            sizes, seconds.
        data_digest: names the data the trial saw.
        versions: of the numbers (`numerics`), of Python and of the libraries that matter; the
            device.
        unlearned: as `accuracy`, of the tasks still to learn (`train/zero_shot`): row t has tasks
            t + 1 and later.
        learner: the trained `hcl.Learner`; None in a result that was read from a file.
    """

    config: dict[str, Any]
    accuracy: dict[str, Matrix]
    inference: dict[str, Matrix]
    metrics: dict[str, float]
    data_digest: str
    versions: dict[str, str] = field(default_factory=dict)
    unlearned: dict[str, Matrix] = field(default_factory=dict)
    learner: Any = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Give the result as values that JSON takes, without the learner."""
        values = asdict(replace(self, learner=None))
        del values["learner"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Result":
        """Make a result from what `to_dict` gave."""
        return cls(**values)


def config_of(values: dict[str, Any]) -> dict[str, Any]:
    """Find the settings in a file's content, which may be a trial or a trial's `Result`."""
    if "accuracy" in values and isinstance(values.get("config"), dict):
        return values["config"]
    return values
