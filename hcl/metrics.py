"""Metrics: pure functions of the accuracy matrix, without torch.

`accuracy[t][i]` is the accuracy on task i after learning task t; T is the number of tasks. A
matrix is a list of triangular rows (row t has t + 1 entries) or a full T × T array, whose entries
above the diagonal are ignored. An empty, ragged or non-finite matrix is a ValueError.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Matrix: TypeAlias = "Sequence[Sequence[float]] | np.ndarray"


def average_accuracy(accuracy: Matrix) -> float:
    """Mean over all tasks at the end: (1/T) Σ_i A[T-1][i].

    ACC of Lopez-Paz & Ranzato, "Gradient episodic memory" (2017).
    """
    return fmean(_triangular(accuracy)[-1])


def running_average_accuracy(accuracy: Matrix) -> list[float]:
    """Mean over the tasks seen so far, after each task: (1/(t+1)) Σ_{i<=t} A[t][i].

    A_k of Chaudhry et al., "Riemannian walk for incremental learning" (2018).
    """
    return [fmean(row) for row in _triangular(accuracy)]


def accuracy_during(accuracy: Matrix) -> list[float]:
    """Accuracy on each task right after learning it, before any other: A[t][t].

    The "during" accuracies of von Oswald et al. (2020), CIFAR experiments.
    """
    return [row[-1] for row in _triangular(accuracy)]


def accuracy_after(accuracy: Matrix) -> list[float]:
    """Accuracy on each task once all are learned: A[T-1][t].

    The "after" accuracies of von Oswald et al. (2020), CIFAR experiments.
    """
    return _triangular(accuracy)[-1]


def area_under_accuracy(accuracy: Matrix) -> float:
    """Area under the curve of the running average: (1/T) Σ_t (1/(t+1)) Σ_{i<=t} A[t][i].

    The average incremental accuracy of Rebuffi et al., "iCaRL" (2017).
    """
    return fmean(running_average_accuracy(accuracy))


def learning_accuracy(accuracy: Matrix) -> float:
    """Mean accuracy on each task just after learning it: (1/T) Σ_i A[i][i].

    The "during" accuracy of von Oswald et al., "Continual learning with hypernetworks" (2020):
    plasticity, how well new tasks are still learned. `stability` is its counterpart.
    """
    return fmean(row[-1] for row in _triangular(accuracy))


def backward_transfer(accuracy: Matrix) -> float:
    """Effect of later tasks on earlier ones: (1/(T-1)) Σ_{i<T-1} (A[T-1][i] - A[i][i]).

    BWT of Lopez-Paz & Ranzato (2017). Negative values are forgetting. 0 for one task.
    """
    rows = _triangular(accuracy)
    return _mean_or_zero(rows[-1][i] - rows[i][i] for i in range(len(rows) - 1))


def mean_backward_transfer(accuracy: Matrix) -> float:
    """Effect of later tasks on earlier ones, after every task: its mean over all t > i.

    (2/(T(T-1))) Σ_{t>i} (A[t][i] - A[i][i]): BWT of Díaz-Rodríguez et al., "Don't forget, there is
    more than forgetting" (2018), eq. 2. `backward_transfer` looks at the last row alone. 0 for one
    task.
    """
    rows = _triangular(accuracy)
    return _mean_or_zero(row[i] - rows[i][i] for t, row in enumerate(rows) for i in range(t))


def stability(accuracy: Matrix) -> float:
    """Compute the share of what was learned that stays: 1 - |min(B, 0)|.

    B is the `mean_backward_transfer`.

    REM ("remembering") of Díaz-Rodríguez et al. (2018), eq. 3: 1 is no forgetting.
    """
    return 1.0 - abs(min(mean_backward_transfer(accuracy), 0.0))


def forgetting(accuracy: Matrix) -> float:
    """Loss from each task's best: (1/(T-1)) Σ_{i<T-1} (max_{i<=t<T-1} A[t][i] - A[T-1][i]).

    F_k of Chaudhry et al. (2018). The maximum is over earlier rows only: it is negative where the
    last task helped an earlier one. 0 for one task.
    """
    rows = _triangular(accuracy)
    last = len(rows) - 1
    return _mean_or_zero(
        max(rows[t][i] for t in range(i, last)) - rows[-1][i] for i in range(last)
    )


def forward_transfer(accuracy: Matrix, from_scratch: Sequence[float]) -> float:
    """Effect of earlier tasks on later ones: (1/(T-1)) Σ_{i>=1} (A[i][i] - S[i]).

    S[i] is the accuracy of a network trained on task i alone, the reference that von Oswald et al.
    (2020) compare with. Not FWT of Lopez-Paz & Ranzato (2017), which scores a task before it is
    learned: `zero_shot_transfer`. The first task has no earlier one. 0 for one task.

    Args:
        accuracy: the accuracy matrix.
        from_scratch: S, one accuracy per task.

    Raises:
        ValueError: the two do not have the same number of tasks.
    """
    rows = _triangular(accuracy)
    scratch = _one_per_task(from_scratch, "from_scratch", len(rows))
    return _mean_or_zero(rows[i][i] - scratch[i] for i in range(1, len(rows)))


def intransigence(accuracy: Matrix, joint: Sequence[float]) -> float:
    """Accuracy lacking on new tasks: (1/T) Σ_i (J[i] - A[i][i]).

    Mean of I_k of Chaudhry et al. (2018), eq. 5. J[i] is the accuracy on task i of a network
    trained on the data of tasks 0 to i together: the diagonal of the matrix of `joint`. Negative
    where the sequence helped.

    Args:
        accuracy: the accuracy matrix.
        joint: J, one accuracy per task.

    Raises:
        ValueError: the two do not have the same number of tasks.
    """
    rows = _triangular(accuracy)
    reference = _one_per_task(joint, "joint", len(rows))
    return fmean(reference[i] - rows[i][i] for i in range(len(rows)))


def zero_shot_transfer(accuracy: Matrix, untrained: Sequence[float]) -> float:
    """Accuracy on a task just before it is learned: (1/(T-1)) Σ_{i>=1} (A[i-1][i] - b[i]).

    FWT of Lopez-Paz & Ranzato (2017), eq. 4; b[i] is that of the network before any training.
    A full T × T matrix is needed, whose entries above the diagonal are scores of tasks not yet
    learned. 0 for one task.

    Raises:
        ValueError: the matrix is triangular, or `untrained` has another number of tasks.
    """
    rows = _square(accuracy)
    start = _one_per_task(untrained, "untrained", len(rows))
    return _mean_or_zero(rows[i - 1][i] - start[i] for i in range(1, len(rows)))


def mean_zero_shot_transfer(accuracy: Matrix) -> float:
    """Mean accuracy on tasks not yet learned: (2/(T(T-1))) Σ_{t<i} A[t][i].

    FWT of Díaz-Rodríguez et al. (2018), eq. 4. A full T × T matrix is needed. 0 for one task.

    Raises:
        ValueError: the matrix is triangular.
    """
    rows = _square(accuracy)
    return _mean_or_zero(value for t, row in enumerate(rows) for value in row[t + 1 :])


def task_inference_accuracy(row: Sequence[float]) -> float:
    """Mean over tasks of the fraction of samples whose task was inferred right: (1/T) Σ_i I[i].

    Inferring the task is what the class scenario adds (van de Ven & Tolias, "Three scenarios for
    continual learning", 2019).

    Raises:
        ValueError: the row is empty or not made of numbers.
    """
    values = _numbers(row, "task inference row")
    if not values:
        raise ValueError("task inference row must have at least one task but has none")
    return fmean(values)


def summary(accuracy: Matrix) -> dict[str, float]:
    """Give the headline metrics, under the names that they are logged with."""
    return {
        "average_accuracy": average_accuracy(accuracy),
        "learning_accuracy": learning_accuracy(accuracy),
        "backward_transfer": backward_transfer(accuracy),
        "forgetting": forgetting(accuracy),
    }


def more(accuracy: Matrix) -> dict[str, float]:
    """Give the other metrics that a matrix alone decides, under the names they are logged with."""
    return {
        "area_under_accuracy": area_under_accuracy(accuracy),
        "mean_backward_transfer": mean_backward_transfer(accuracy),
        "stability": stability(accuracy),
    }


def _mean_or_zero(values: Iterable[float]) -> float:
    listed = list(values)
    return fmean(listed) if listed else 0.0


def _numbers(row: Any, name: str) -> list[float]:
    try:
        return [float(value) for value in row]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a list of numbers but is {row!r}") from error


def _one_per_task(values: Any, name: str, num_tasks: int) -> list[float]:
    found = _numbers(values, name)
    if len(found) != num_tasks:
        raise ValueError(
            f"{name} must have one accuracy per task ({num_tasks}) but has {len(found)}"
        )
    return found


def _square(accuracy: Matrix) -> list[list[float]]:
    """Check a full matrix and copy it."""
    _triangular(accuracy)
    rows = [_numbers(row, f"accuracy[{t}]") for t, row in enumerate(accuracy)]
    if len(rows[0]) != len(rows):
        raise ValueError(
            f"accuracy must have {len(rows)} rows of {len(rows)} but its rows have {len(rows[0])}"
            " and more: tasks must be scored before they are learned"
        )
    if not all(math.isfinite(value) for row in rows for value in row):
        raise ValueError("accuracy must have only finite numbers, above the diagonal too")
    return rows


def _triangular(accuracy: Matrix) -> list[list[float]]:
    """Check the matrix and copy t + 1 entries of row t."""
    if not hasattr(accuracy, "__len__"):
        raise ValueError(f"accuracy must be a list of rows but is {accuracy!r}")
    rows = [_numbers(row, f"accuracy[{t}]") for t, row in enumerate(accuracy)]
    if not rows:
        raise ValueError("accuracy must have at least one row but has none")
    lengths = [len(row) for row in rows]
    triangle = list(range(1, len(rows) + 1))
    if lengths not in (triangle, [len(rows)] * len(rows)):
        raise ValueError(
            f"accuracy must have rows of length {triangle} or all of length {len(rows)}"
            f" but they have {lengths}"
        )
    rows = [row[: t + 1] for t, row in enumerate(rows)]
    for t, row in enumerate(rows):
        for i, value in enumerate(row):
            if not math.isfinite(value):
                raise ValueError(f"accuracy[{t}][{i}] must be a finite number but is {value}")
    return rows
