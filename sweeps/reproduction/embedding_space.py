"""Accuracy over a plane of task embeddings, of the networks that a hypernetwork generates."""

import csv
import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.progress import Progress

from hcl import seeding
from hcl.config import TrialConfig
from hcl.measure.embedding_space import accuracy_over_embeddings, square_grid
from hcl.methods.hnet import Hnet
from hcl.results import NUMERICS_VERSION
from hcl.storage.files import write_atomically
from hcl.training.process import Runtime, process_settings
from hcl.training.trial_state import start_trial
from sweeps.cluster.resources import gpus
from sweeps.output import plots
from sweeps.records.folder import SweepFolder
from sweeps.reproduction.request import TableRequest
from sweeps.reproduction.results import CellResult, TableResults
from sweeps.reproduction.tables import title


@dataclass(frozen=True)
class Grid:
    """Accuracies measured over a grid of embeddings.

    Attributes:
        x, y: coordinates of the grid, (P,) each.
        accuracy: (tasks, P, P), fractions.
        learned: (T, 2), the embeddings that the training found.
        task_ids: tasks of the first dimension of `accuracy`.
    """

    x: np.ndarray
    y: np.ndarray
    accuracy: np.ndarray
    learned: np.ndarray
    task_ids: np.ndarray


def embedding_spaces(
    request: TableRequest, results: TableResults
) -> tuple[dict[str, Figure], list[str]]:
    """Draw a figure for each cell, from its first finished seed, and write its values as CSV.

    Returns:
        The figures by name, and a note for each trained cell that has no checkpoint here.
    """
    drawn, notes = {}, []
    for result in results.cells.values():
        trained = _trained_seed(request, result)
        if trained is None:
            if result.runs:
                notes.append(f"{result.cell.row}: no picture, because no final checkpoint is here")
            continue
        config, checkpoint = trained
        grid = _cached_grid(request, config, checkpoint)
        name = f"{request.folder.name}-{result.cell.row}-{result.cell.column}"
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        request.output.mkdir(parents=True, exist_ok=True)
        write_atomically(request.output / f"{name}.csv", _csv(grid))
        drawn[name] = _draw(request, result, config, grid)
    return drawn, notes


def _trained_seed(request: TableRequest, result: CellResult) -> tuple[TrialConfig, Path] | None:
    """Configuration and newest checkpoint of the first seed whose final state is here."""
    for seed, run in result.runs.items():
        sweep = SweepFolder(request.folder.storage, run.sweep)
        folder = sweep.seed_folder(run.label, seed) / "checkpoints"
        if files := sorted(folder.glob("[0-9]*.pt")):
            return replace(result.cell.config, seed=seed), files[-1]
    return None


def _cached_grid(request: TableRequest, config: TrialConfig, checkpoint: Path) -> Grid:
    """Measure a grid once for each final state, grid settings and version of the numbers."""
    head = request.spec.head
    digest = hashlib.sha256(checkpoint.read_bytes())
    wanted = f"{head.grid_points} {head.grid_samples} {head.grid_tasks} v{NUMERICS_VERSION}"
    digest.update(wanted.encode())
    path = request.output / "grids" / f"{digest.hexdigest()[:16]}.npz"
    if not path.exists():
        grid = _measure(request, config, checkpoint.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: np.savez(file, **vars(grid)))
    with np.load(path, allow_pickle=False) as values:
        return Grid(**values)


def _measure(request: TableRequest, config: TrialConfig, checkpoints: Path) -> Grid:
    head = request.spec.head
    device = "cuda" if gpus(request.settings) else "cpu"
    runtime = Runtime(device=device, data_root=request.data_root, checkpoint_dir=checkpoints)
    with process_settings(runtime), seeding.isolated(config.seed, "grid"), Progress() as bar:
        trial = start_trial(config, runtime, None)
        method = trial.method.eval()
        assert isinstance(method, Hnet)
        learned = method.one_hypernet.stacked_embeddings(range(method.num_learned)).detach()
        embeddings = square_grid(learned, head.grid_points)
        task_ids = head.grid_tasks or range(method.num_learned)
        line = bar.add_task("accuracy over embeddings", total=len(embeddings))
        accuracy = accuracy_over_embeddings(
            method, trial.benchmark, embeddings, task_ids, head.grid_samples,
            lambda done: bar.advance(line, done),
        )  # fmt: skip
    square = embeddings.cpu().numpy().reshape(head.grid_points, head.grid_points, 2)
    shaped = accuracy.numpy().reshape(len(task_ids), *square.shape[:2])
    ids = np.array(list(task_ids))
    return Grid(square[:, 0, 0], square[0, :, 1], shaped, learned.cpu().numpy(), ids)


def _draw(request: TableRequest, result: CellResult, config: TrialConfig, grid: Grid) -> Figure:
    own = {f"on task {task}": int(task) for task in grid.task_ids}
    panels = {name: 100 * values for name, values in zip(own, grid.accuracy, strict=True)}
    if len(panels) > 1:
        panels["best over these tasks"] = 100 * grid.accuracy.max(axis=0)
    figure = plots.embedding_space(panels, grid.x, grid.y, grid.learned, own)
    samples = request.spec.head.grid_samples
    shown = f"{samples} test samples per task" if samples else "all test samples"
    figure.suptitle(
        f"{title(request.spec)}\n{result.cell.row}, seed {config.seed}; {shown};"
        " numbers: learned embeddings",
        fontsize=9,
    )
    return figure


def _csv(grid: Grid) -> str:
    """Write a line for each embedding, the learned ones first, and a column for each task."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ("learned by task", "x", "y", *(f"accuracy on task {i}" for i in grid.task_ids))
    )
    for task, (x, y) in enumerate(grid.learned):
        writer.writerow((task, float(x), float(y), *("" for _ in grid.task_ids)))
    for i, x in enumerate(grid.x):
        for j, y in enumerate(grid.y):
            writer.writerow(("", float(x), float(y), *map(float, grid.accuracy[:, i, j])))
    return buffer.getvalue()
