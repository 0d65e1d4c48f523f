"""Figures of a table: over tasks, a setting, a size or embeddings, and generated inputs."""

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from sweeps.output import panels, plots
from sweeps.output.sample_grid import SAMPLES
from sweeps.records.folder import SweepFolder
from sweeps.reproduction.embedding_space import embedding_spaces
from sweeps.reproduction.functions import learned_functions
from sweeps.reproduction.request import TableRequest
from sweeps.reproduction.results import CellResult, TableResults, running_averages
from sweeps.reproduction.tables import scale, title
from sweeps.reproduction.transfer import transfer_figures


def figures(request: TableRequest, results: TableResults) -> tuple[dict[str, Figure], list[str]]:
    """Draw the figures that the table file asks for.

    Returns:
        Name of each figure's file -> figure, and notes on trained cells that cannot be drawn.
    """
    kind = request.spec.head.figure
    if kind == "curves":
        return _curves(request, results), []
    if kind == "scan":
        return _scan(request, results), []
    if kind == "transfer":
        return transfer_figures(request, results), []
    if kind == "embedding_space":
        return embedding_spaces(request, results)
    if kind == "functions":
        return learned_functions(request, results), []
    if kind == "samples":
        return _samples(request, results), []
    return {}, []


def _curves(request: TableRequest, results: TableResults) -> dict[str, Figure]:
    """A figure per row: average accuracy after each task, one line per method."""
    spec, drawn = request.spec, {}
    for row in spec.rows:
        lines = {
            spec.columns[column]: running_averages(request.store, result)
            for (of_row, column), result in results.cells.items()
            if of_row == row and result.runs
        }
        if lines:
            figure = plots.average_accuracy_curves(lines)
            plots.put_title(figure, f"{row}. {_subtitle(request)}")
            drawn[f"{request.folder.name}-{row}"] = figure
    return drawn


def _scan(request: TableRequest, results: TableResults) -> dict[str, Figure]:
    """Every method's number over the rows' x: a setting of the cells, or a measured size."""
    spec = request.spec
    lines: dict[str, list[tuple[float, list[float]]]] = {}
    for result in results.cells.values():
        if result.runs:
            x = _x_value(result, spec.head.x)
            values = list(result.values(scale(spec)).values())
            lines.setdefault(spec.columns[result.cell.column], []).append((x, values))
    if not lines:
        return {}
    unit = f"{spec.head.metric.replace('_', ' ')}{' (%)' if scale(spec) == 100 else ''}"
    figure = plots.scan(lines, spec.head.x_label or spec.head.x, unit, is_log=_is_log(lines))
    plots.put_title(figure, _subtitle(request))
    return {request.folder.name: figure}


def _x_value(result: CellResult, name: str) -> float:
    if name == "compression_ratio":
        return next(iter(result.runs.values())).ratio
    return float(result.cell.config.to_dict().get(name, float("nan")))


def _is_log(lines: dict[str, list[tuple[float, list[float]]]]) -> bool:
    """Return whether x spans more than a factor of 20, which needs a logarithmic axis."""
    xs = [x for points in lines.values() for x, _ in points if x == x and x > 0]
    return bool(xs) and max(xs) / min(xs) > 20


def _samples(request: TableRequest, results: TableResults) -> dict[str, Figure]:
    """A figure per row: inputs that each method's replay model generates at the end."""
    spec, drawn = request.spec, {}
    for row in spec.rows:
        pictures = {}
        for column, label in spec.columns.items():
            result = results.cells.get((row, column))
            found = _last_samples(request, result) if result else None
            if found is not None:
                pictures[f"{label}, seed {found[0]}"] = found[1]
        if pictures:
            figure = panels.pictures(pictures)
            plots.put_title(figure, f"{row}. {title(spec)}")
            drawn[f"{request.folder.name}-{row}"] = figure
    return drawn


def _last_samples(request: TableRequest, result: CellResult) -> tuple[int, np.ndarray] | None:
    """The first seed whose picture of generated inputs is here, and its last picture's pixels."""
    for seed, run in result.runs.items():
        folder = SweepFolder(request.folder.storage, run.sweep).seed_folder(run.label, seed)
        if files := sorted(folder.glob(SAMPLES)):
            with Image.open(files[-1]) as picture:
                return seed, np.asarray(picture.convert("RGB"))
    return None


def _subtitle(request: TableRequest) -> str:
    return f"{title(request.spec)}; band: SEM"
