"""Figures of a table: accuracy over tasks, over a setting or a size, or over embeddings."""

from matplotlib.figure import Figure

from sweeps.output import plots
from sweeps.reproduction.embedding_space import embedding_spaces
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


def _subtitle(request: TableRequest) -> str:
    return f"{title(request.spec)}; band: SEM"
