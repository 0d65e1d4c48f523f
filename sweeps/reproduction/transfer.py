"""Transfer between tasks: accuracies during and after learning, forward and backward transfer."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure

from hcl import metrics
from hcl.results import Matrix
from sweeps.output import plots
from sweeps.output.metric_names import UNITS
from sweeps.output.table import Entry, Estimate, Table
from sweeps.reproduction.request import TableRequest
from sweeps.reproduction.results import TableResults, matrices
from sweeps.reproduction.tables import title

MAX_TASK_COLUMNS = 20  # a person cannot read more of them


@dataclass(frozen=True)
class Learned:
    """Accuracy matrices of a cell, by seed, and those of the reference in the same row.

    Attributes:
        row, label: place in the table.
        is_reference: whether this cell is the reference itself.
        matrices: seed -> accuracy matrix of this cell.
        reference: seed -> accuracy matrix of networks that learned each task alone.
    """

    row: str
    label: str
    is_reference: bool
    matrices: dict[int, Matrix]
    reference: dict[int, Matrix]

    def during(self) -> list[list[float]]:
        """Return for each seed the accuracy on each task right after learning it."""
        return [metrics.accuracy_during(matrix) for matrix in self.matrices.values()]

    def after(self) -> list[list[float]]:
        """Return for each seed the accuracy on each task after the last one was learned."""
        return [metrics.accuracy_after(matrix) for matrix in self.matrices.values()]

    def forward_transfer(self) -> list[float]:
        """Return the forward transfer of each seed that the reference was trained with, too."""
        return [
            metrics.forward_transfer(matrix, metrics.accuracy_during(self.reference[seed]))
            for seed, matrix in self.matrices.items()
            if seed in self.reference
        ]


def transfer_tables(request: TableRequest, results: TableResults) -> list[Table]:
    """Make the tables of transfer and of each task's accuracy; empty ones are left out."""
    learned = _learned(request, results)
    tables = [_transfer(request, learned), _per_task(request, learned)]
    return [table for table in tables if table.rows]


def transfer_figures(request: TableRequest, results: TableResults) -> dict[str, Figure]:
    """Draw a figure per row: every method's accuracy on each task, during and after."""
    drawn = {}
    for row in request.spec.rows:
        lines = {
            one.label: (np.array(one.during()), np.array(one.after()))
            for one in _learned(request, results)
            if one.row == row
        }
        if lines:
            figure = plots.during_and_after(lines)
            plots.put_title(figure, f"{row}. {title(request.spec)}")
            drawn[f"{request.folder.name}-{row}"] = figure
    return drawn


def _learned(request: TableRequest, results: TableResults) -> list[Learned]:
    spec, cells = request.spec, results.cells
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


def _transfer(request: TableRequest, learned: list[Learned]) -> Table:
    columns: dict[str, list[Entry]] = {
        "row": [one.row for one in learned],
        "method": [one.label for one in learned],
        "during (%)": [_percent(map(fmean, one.during())) for one in learned],
        "after (%)": [_percent(map(fmean, one.after())) for one in learned],
        "forward transfer (%)": [_forward(one) for one in learned],
        "backward transfer (%)": [
            _percent(map(metrics.backward_transfer, one.matrices.values())) for one in learned
        ],
    }
    reference = request.spec.columns.get(request.spec.head.reference, "the reference")
    notes = [
        "during: right after learning a task; after: once all are learned; means over tasks",
        f"forward transfer: during minus {reference}'s during, seed by seed, averaged over all"
        " tasks but the first",
        "backward transfer: after minus during, averaged over all tasks but the last",
        "mean ± SEM (n seeds), in percentage points",
    ]
    return Table.from_columns(f"{title(request.spec)}: transfer", columns, notes)


def _forward(one: Learned) -> Estimate | None:
    values = one.forward_transfer()
    return _percent(values) if values and not one.is_reference else None


def _per_task(request: TableRequest, learned: list[Learned]) -> Table:
    num_tasks = max((len(one.during()[0]) for one in learned), default=0)
    if num_tasks > MAX_TASK_COLUMNS:
        return Table("", (), ())
    # One line for each cell and moment, with the accuracies of all seeds: (seeds, tasks).
    lines = [
        (one, when, values)
        for one in learned
        for when, values in (("during", one.during()), ("after", one.after()))
    ]
    columns: dict[str, list[Entry]] = {
        "row": [one.row for one, _, _ in lines],
        "method": [one.label for one, _, _ in lines],
        "when": [when for _, when, _ in lines],
    }
    for task in range(num_tasks):
        columns[f"task {task} (%)"] = [
            _percent(seed[task] for seed in values) if task < len(values[0]) else None
            for _, _, values in lines
        ]
    return Table.from_columns(f"{title(request.spec)}: each task", columns, [UNITS])


def _percent(values: Iterable[float]) -> Estimate:
    return Estimate.of(100 * value for value in values)
