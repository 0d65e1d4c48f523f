"""What the records hold for each cell. The only reader of MLflow in this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from hcl.config import TrialConfig
from hcl.results import Matrix
from sweeps.reproduction.code import code_digest
from sweeps.reproduction.spec import Cell, TableSpec
from sweeps.table import Estimate

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.tracking import Store


def cell_label(config: TrialConfig) -> str:
    """Content address of a training: its settings without the seed, and its code."""
    return f"{config.digest(without_seed=True)}-{code_digest(config)}"


@dataclass(frozen=True)
class Run:
    """One finished training of a cell."""

    run_id: str
    sweep: str  # it is a training of, and
    label: str  # its name there
    value: float  # of the cell's metric, as recorded
    hours: float
    ratio: float  # compression
    commit: str
    is_other_code: bool


@dataclass(frozen=True)
class CellResult:
    """A cell and the runs that count for it, by seed."""

    cell: Cell
    seeds: tuple[int, ...]  # asked for
    runs: dict[int, Run] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every seed that was asked for is there."""
        return len(self.runs) == len(self.seeds)

    def estimate(self, scale: float) -> Estimate | None:
        """Mean ± SEM over the seeds that are there."""
        return Estimate.of(scale * run.value for run in self.runs.values()) if self.runs else None

    def values(self, scale: float) -> dict[int, float]:
        """By seed."""
        return {seed: scale * run.value for seed, run in self.runs.items()}


@dataclass(frozen=True)
class Collected:
    """All cells of a table, and what else was found."""

    cells: dict[tuple[str, str], CellResult]
    num_other_code: int  # finished runs of these settings by other code, not counted


def collect(
    spec: TableSpec,
    seeds: Sequence[int],
    store: Store,
    sources: Sequence[str],
    any_code: bool = False,
) -> Collected:
    """Find the finished runs of every cell.

    Args:
        spec: the table.
        seeds: that count.
        store: where the runs are.
        sources: sweeps (experiments) to look in, the table's own first.
        any_code: count runs of another version of the code too.

    Raises:
        ConfigError: the store is not reachable.
    """
    import pandas as pd

    from sweeps.report import complete_runs
    from sweeps.tracking import is_made, runs_frame

    frames = [runs_frame(store, source) for source in sources] if is_made(store) else []
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return Collected({(c.row, c.column): CellResult(c, tuple(seeds)) for c in spec.cells}, 0)
    runs = complete_runs(pd.concat(frames, ignore_index=True))
    cells, others = {}, set()
    for cell in spec.cells:
        wanted = cell_label(cell.config)
        mine = runs[runs["config"] == cell.config.digest(without_seed=True)]
        if not any_code:
            is_ours = mine["tags.trial"].astype(str) == wanted
            others |= set(mine["run_id"][~is_ours])
            mine = mine[is_ours]
        found = _by_seed(mine, cell.metric, seeds, wanted)
        cells[cell.row, cell.column] = CellResult(cell, tuple(seeds), found)
    return Collected(cells, len(others))


def _by_seed(
    frame: pd.DataFrame, metric: str, seeds: Sequence[int], wanted: str
) -> dict[int, Run]:
    """Of a seed trained twice, this code's run comes before another code's."""
    found: dict[int, Run] = {}
    for row in frame.to_dict("records"):
        seed, value = int(row["seed"]), row.get(metric)
        if seed not in seeds or value is None or value != value:
            continue
        other = str(row["tags.trial"]) != wanted
        if seed not in found or (found[seed].is_other_code and not other):
            found[seed] = Run(
                row["run_id"],
                str(row.get("tags.sweep", "")),
                str(row["tags.trial"]),
                float(value),
                float(row.get("wall_seconds", 0.0)) / 3600,
                float(row.get("compression_ratio", float("nan"))),
                str(row.get("tags.git_commit", "?"))[:7],
                other,
            )
    return {seed: found[seed] for seed in sorted(found)}


def running_averages(store: Store, result: CellResult) -> list[list[float]]:
    """Average accuracy after each task, a list for each seed."""
    from hcl.metrics import running_average_accuracy

    return [running_average_accuracy(matrix) for matrix in matrices(store, result).values()]


def matrices(store: Store, result: CellResult) -> dict[int, Matrix]:
    """The recorded matrices of a cell's scenario, by seed."""
    name = result.cell.metric.rsplit("/", 1)[0]
    return {seed: _matrix(store, run.run_id, name) for seed, run in result.runs.items()}


@lru_cache(maxsize=1000)
def _matrix(store: Store, run_id: str, name: str) -> Matrix:
    from sweeps.tracking import accuracy_matrices

    return accuracy_matrices(store, run_id)[name]  # of a finished run: it never changes
