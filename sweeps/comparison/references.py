"""Metrics of a study that need another method's matrix, beside those that one matrix gives."""

from collections.abc import Callable, Iterable, Sequence

from hcl import metrics
from hcl.config import TrialConfig
from hcl.results import Matrix, Result
from sweeps.comparison.plan import Part
from sweeps.comparison.run import Outcome, StudyRequest
from sweeps.output.metric_names import is_fraction
from sweeps.output.table import Entry, Estimate, Table
from sweeps.records.folder import run_key
from sweeps.tracking.sweep_run import add_metrics
from sweeps.workers.seed_records import single_seed

# Metric -> the formula, and the methods whose diagonal is its reference, the first one found.
REFERENCES: dict[str, tuple[Callable[[Matrix, Sequence[float]], float], tuple[str, ...]]] = {
    "forward_transfer": (metrics.forward_transfer, ("from_scratch", "hnet_from_scratch")),
    "intransigence": (metrics.intransigence, ("joint",)),
}
OF_A_MATRIX = ("learning_accuracy", "forgetting", "backward_transfer", *REFERENCES)
COSTS = ("num_weights", "flops/training", "flops/prediction")
NOTES = {
    "forward_transfer": "forward transfer: against training from scratch",
    "intransigence": "intransigence: against joint training",
    "flops/training": "flops: multiplications and additions per sample of a step of the last task,"
    " and of a prediction",
}


def with_references(outcomes: Sequence[Outcome]) -> list[dict[int, dict[str, float]]]:
    """Compute forward transfer and intransigence where the study has their reference.

    Both compare runs of one pair, whose data are the same.

    Returns:
        For each outcome its pairs' seeds -> metrics, named as the run's others are.
    """
    found = []
    for one in outcomes:
        beside = [other for other in outcomes if other.part.row == one.part.row]
        found.append({seed: _compare(one, seed, beside) for seed in one.results})
    return found


def record_references(request: StudyRequest, outcomes: Sequence[Outcome]) -> None:
    """Add these metrics to the MLflow runs of the confirmations.

    Raises:
        ConfigError: MLflow is not reachable; the same command sends them again.
    """
    found: dict[str, dict[str, float]] = {}
    for one, compared in zip(outcomes, with_references(outcomes), strict=True):
        for seed, values in compared.items():
            config = TrialConfig.from_dict(one.results[seed].config)
            trial = single_seed(config, request.folder).trial
            # A training may stand for two parts: it gets what both say.
            found.setdefault(run_key(request.folder.name, trial, seed), {}).update(values)
    add_metrics(request.store, request.folder.name, found)


def _compare(one: Outcome, seed: int, beside: Sequence[Outcome]) -> dict[str, float]:
    matrix = _matrix(one.part, one.results[seed])
    values: dict[str, float] = {}
    if matrix is None:
        return values
    for metric, (formula, methods) in REFERENCES.items():
        references = [_find(method, seed, beside) for method in methods]
        reference = next(filter(None, references), None)
        if reference is not None and matrix is not reference:
            value = formula(matrix, metrics.accuracy_during(reference))
            values[f"test/{one.part.scenario}/{metric}"] = value
    return values


def _find(method: str, seed: int, beside: Iterable[Outcome]) -> Matrix | None:
    for other in beside:
        result = other.results.get(seed)
        if result is not None and result.config["method/name"] == method:
            return _matrix(other.part, result)
    return None


def _matrix(part: Part, result: Result) -> Matrix | None:
    """Find the accuracy matrix; a regression has none."""
    return result.accuracy.get(f"test/{part.scenario}")


def metrics_tables(name: str, outcomes: Sequence[Outcome]) -> list[Table]:
    """Show what the matrices say beside accuracy; and what is stored, and what a sample costs."""
    compared = with_references(outcomes)
    first: dict[str, list[Entry]] = {
        "row": [one.part.row for one in outcomes],
        "method": [one.part.method for one in outcomes],
    }
    tables = []
    for title, shown in (("metrics", OF_A_MATRIX), ("costs", COSTS)):
        columns, notes = dict(first), []
        for metric in shown:
            cells = [
                _cell(one, metric, more) for one, more in zip(outcomes, compared, strict=True)
            ]
            if any(cells):
                columns[_heading(metric)] = cells
                notes += [NOTES[metric]] if metric in NOTES else []
        if len(columns) > len(first):
            tables.append(Table.from_columns(f"{name}: {title}", columns, notes))
    return tables


def _heading(metric: str) -> str:
    heading = metric.replace("_", " ").replace("num weights", "stored numbers")
    return heading + (" (%)" if is_fraction(metric) else "")


def _cell(one: Outcome, metric: str, compared: dict[int, dict[str, float]]) -> Entry:
    key = f"test/{one.part.scenario}/{metric}" if metric in OF_A_MATRIX else metric
    known = [result.metrics | compared[seed] for seed, result in one.results.items()]
    values = [all_of[key] for all_of in known if key in all_of]
    if not values:
        return ""
    if is_fraction(metric):
        return Estimate.of([100 * value for value in values])
    return f"{values[0]:,.0f}"
