"""What tasks do to each other: accuracies during and after, forward and backward transfer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from hcl import metrics
from hcl.results import Matrix
from sweeps.output import plots
from sweeps.output.table import Cell, Estimate, Table
from sweeps.reproduction.results import Collected, matrices
from sweeps.reproduction.tables import title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sweeps.reproduction.run import Request

MAX_COLUMNS = 20  # of tasks, in a table that a person reads


@dataclass(frozen=True)
class Learned:
    """The accuracy matrices of a cell, by seed, and those of the reference in its row."""

    row: str
    label: str
    is_reference: bool
    matrices: dict[int, Matrix]
    reference: dict[int, Matrix]

    def during(self) -> list[list[float]]:
        """For each seed the accuracy on each task right after learning it."""
        return [metrics.accuracy_during(matrix) for matrix in self.matrices.values()]

    def after(self) -> list[list[float]]:
        """For each seed the accuracy on each task after the last."""
        return [metrics.accuracy_after(matrix) for matrix in self.matrices.values()]

    def forward_transfer(self) -> list[float]:
        """Of the seeds that the reference was trained with too."""
        return [
            metrics.forward_transfer(matrix, metrics.accuracy_during(self.reference[seed]))
            for seed, matrix in self.matrices.items()
            if seed in self.reference
        ]


def transfer_tables(request: Request, found: Collected) -> list[Table]:
    """Accuracies of each task, and transfer; empty tables are left out."""
    learned = _learned(request, found)
    tables = [_transfer(request, learned), _per_task(request, learned)]
    return [table for table in tables if table.rows]


def transfer_figures(request: Request, found: Collected) -> dict[str, Figure]:
    """A figure per row: every method's accuracy on each task, during and after."""
    drawn = {}
    for row in request.spec.rows:
        lines = {
            one.label: (np.array(one.during()), np.array(one.after()))
            for one in _learned(request, found)
            if one.row == row
        }
        if lines:
            figure = plots.during_and_after(lines)
            plots.put_title(figure, f"{row}. {title(request.spec)}")
            drawn[f"{request.folder.name}-{row}"] = figure
    return drawn


def _learned(request: Request, found: Collected) -> list[Learned]:
    spec, cells = request.spec, found.cells
    named = spec.head.reference
    every = []
    for row in spec.rows:
        alone = cells.get((row, named))
        reference = matrices(request.store, alone) if alone else {}
        for column, label in spec.columns.items():
            result = cells.get((row, column))
            if result and result.runs:
                mine = matrices(request.store, result)
                every.append(Learned(row, label, column == named, mine, reference))
    return every


def _transfer(request: Request, learned: list[Learned]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in learned:
        forward = one.forward_transfer()
        rows.append(
            (
                one.row,
                one.label,
                _percent(map(fmean, one.during())),
                _percent(map(fmean, one.after())),
                _percent(forward) if forward and not one.is_reference else None,
                _percent(map(metrics.backward_transfer, one.matrices.values())),
            )
        )
    columns = ("row", "method", "during (%)", "after (%)", "forward transfer (%)",
               "backward transfer (%)")  # fmt: skip
    reference = request.spec.columns.get(request.spec.head.reference, "the reference")
    notes = (
        "during: right after learning a task; after: once all are learned; means over tasks",
        f"forward transfer: mean over all tasks but the first of during minus {reference}'s, seed"
        " by seed; backward transfer: mean over all tasks but the last of after minus during",
        "mean ± SEM (n seeds), in percentage points",
    )
    return Table(f"{title(request.spec)}: transfer", columns, tuple(rows), notes)


def _per_task(request: Request, learned: list[Learned]) -> Table:
    tasks = max((len(one.during()[0]) for one in learned), default=0)
    if tasks > MAX_COLUMNS:
        return Table("", (), ())
    rows: list[tuple[Cell, ...]] = []
    for one in learned:
        for when, values in (("during", one.during()), ("after", one.after())):
            each = [_percent(seeds) for seeds in zip(*values, strict=True)]
            rows.append((one.row, one.label, when, *each, *[None] * (tasks - len(each))))
    columns = ("row", "method", "when", *(f"task {i} (%)" for i in range(tasks)))
    return Table(f"{title(request.spec)}: each task", columns, tuple(rows),
                 ("mean ± SEM (n seeds)",))  # fmt: skip


def _percent(values: Iterable[float]) -> Estimate:
    return Estimate.of(100 * value for value in values)
