"""The context that all trainings of one run share."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.tracking import Store


@dataclass(frozen=True)
class RunContext:
    """Context of all trainings of a sweep, a table or a single run: where, and how recorded.

    `sweeps.launch.request.make_context` makes it, once per run.

    Attributes:
        sweep: name of the sweep, which is also its MLflow experiment.
        store: MLflow store.
        parent_run_id: the sweep's own MLflow run; None where there is none.
        tags: tags of every MLflow run, e.g. git_commit.
        phase: "search", "confirm", "table" or "single".
        device: "cpu" or "cuda".
        gpu_share: part of a GPU's memory that one process may use; the rest is its neighbours'.
        threads: torch's CPU threads; None = torch decides.
        data_root: folder of the data sets.
        checkpoint_every: training steps between two checkpoints; 0 = after every task only.
        classifiers: folder in which trainings share classifiers; None = they do not.
    """

    sweep: str
    store: Store
    parent_run_id: str | None = None
    tags: dict[str, Any] = field(default_factory=dict)
    phase: str = "search"
    device: str = "cpu"
    gpu_share: float = 1.0
    threads: int | None = None
    data_root: str | None = None
    checkpoint_every: int = 0
    classifiers: Path | None = None
