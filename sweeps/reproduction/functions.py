"""Functions that a regression has learned, after each task, over those it should learn."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from hcl import benchmarks
from hcl.benchmarks.arrays import Benchmark
from sweeps.output import panels, plots
from sweeps.output.panels import Curve
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.reproduction.request import TableRequest
from sweeps.reproduction.results import CellResult, TableResults
from sweeps.reproduction.tables import title


def learned_functions(request: TableRequest, results: TableResults) -> dict[str, Figure]:
    """Draw each column's functions, from the first finished seed whose journal is here.

    A table's rows score the same trainings, so the first cell of a column stands for it.
    """
    rows: dict[str, Sequence[Sequence[Curve]]] = {}
    targets: list[Curve] = []
    for column, label in request.spec.columns.items():
        cells = [result for (_, name), result in results.cells.items() if name == column]
        for seed, moments in _recorded(request, cells[0]) if cells else ():
            config = cells[0].cell.config
            benchmark = benchmarks.load(config.benchmark, request.data_root, trial_seed=seed)
            points = _points(benchmark)
            targets = points
            rows[f"{label}, seed {seed}"] = [
                [(x, np.array(y)) for (x, _), y in zip(points, curves, strict=False)]
                for curves in moments
            ]
    if not rows:
        return {}
    figure = panels.learned_functions(rows, targets)
    plots.put_title(figure, f"{title(request.spec)}; grey: the functions to learn")
    return {request.folder.name: figure}


def _recorded(
    request: TableRequest, result: CellResult
) -> list[tuple[int, list[list[list[float]]]]]:
    """Return the first seed that has its curves after every task, with them; else nothing."""
    for seed, run in result.runs.items():
        folder = SweepFolder(request.folder.storage, run.sweep).seed_folder(run.label, seed)
        records = Journal(folder).records() if folder.is_dir() else []
        # A task that was learned again after an interruption has several records: the last counts.
        found = {r["tasks_learned"]: r["curves"] for r in records if r.get("curves")}
        if len(found) == result.cell.config.benchmark.num_tasks:
            return [(seed, [found[number] for number in sorted(found)])]
    return []


def _points(benchmark: Benchmark) -> list[Curve]:
    """Return the test points of each task."""
    found = []
    for task in benchmark.tasks:
        x, y = task.test.batch(torch.arange(len(task.test)))
        found.append((x[:, 0].numpy(), y[:, 0].numpy()))
    return found
