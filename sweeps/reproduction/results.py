"""Results of a table: the finished runs of every cell, beside the paper's numbers.

Nothing else here reads MLflow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import pandas as pd

from hcl.config import BenchmarkConfig, TrialConfig
from hcl.metrics import running_average_accuracy
from hcl.results import NUMERICS_VERSION, Matrix
from sweeps.output.statistics.welch import Difference, Verdict, difference
from sweeps.output.table import Estimate
from sweeps.reports.runs import complete_runs
from sweeps.reproduction.request import TableRequest
from sweeps.reproduction.table_file import Cell, Paper, TableSpec
from sweeps.tracking import Store, accuracy_matrices, is_made, runs_frame

BADGES: dict[Verdict, str] = {
    "matches": "agrees",
    "below": "below",
    "above": "above",
    "unknown": "too few seeds",
}
NOT_COMPARABLE = "not comparable"  # other tasks, or a part of the iterations
DAGGER = "†"  # marks a number of the paper that no source confirms
FIRST_VERSION = "1"  # NUMERICS_VERSION of runs whose records do not name one


@dataclass(frozen=True)
class Run:
    """One finished training of a cell.

    Attributes:
        run_id: its id in MLflow.
        sweep: name of the sweep that it belongs to.
        label: name of the training in that sweep.
        value: the cell's metric, as recorded.
        hours: how long it took.
        ratio: compression ratio.
        commit: the code's, shortened.
        is_other: whether it is of another NUMERICS_VERSION, or on other data.
    """

    run_id: str
    sweep: str
    label: str
    value: float
    hours: float
    ratio: float
    commit: str
    is_other: bool


@dataclass(frozen=True)
class CellResult:
    """A cell, the seeds that were asked for, and the runs that count for it, by seed."""

    cell: Cell
    seeds: tuple[int, ...]
    runs: dict[int, Run] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """True where every seed that was asked for is there."""
        return len(self.runs) == len(self.seeds)

    def estimate(self, scale: float) -> Estimate | None:
        """Return mean ± SEM over the seeds that are there."""
        return Estimate.of(scale * run.value for run in self.runs.values()) if self.runs else None

    def values(self, scale: float) -> dict[int, float]:
        """Return the value of each seed that is there."""
        return {seed: scale * run.value for seed, run in self.runs.items()}


@dataclass(frozen=True)
class TableResults:
    """Results of every cell, by (row, column), and how many runs were found but do not count.

    Attributes:
        cells: in the order of the table.
        num_other_version: finished runs of these settings with another NUMERICS_VERSION.
        num_other_data: finished runs of these settings on other data.
    """

    cells: dict[tuple[str, str], CellResult]
    num_other_version: int = 0
    num_other_data: int = 0


@dataclass(frozen=True)
class Compared:
    """A cell's result beside the paper's number.

    Attributes:
        result: of the cell.
        ours: our estimate, None where nothing is trained yet.
        paper: the paper's number, None where it has none.
        is_comparable: whether both had the same kind of tasks, and ours all of the iterations.
    """

    result: CellResult
    ours: Estimate | None
    paper: Paper | None
    is_comparable: bool = True

    @property
    def theirs(self) -> Estimate | None:
        """The paper's number as an estimate."""
        return Estimate(self.paper.mean, self.paper.sem, self.paper.n) if self.paper else None

    @property
    def difference(self) -> Difference | None:
        """Ours minus theirs, where both are known and may be compared."""
        if not (self.ours and self.theirs and self.is_comparable):
            return None
        return difference(self.ours, self.theirs)

    @property
    def badge(self) -> str:
        """Say in a word or two how ours stands to theirs; how many seeds are missing."""
        result = self.result
        if self.ours is None:
            return f"missing, {len(result.seeds)} seeds"
        parts = [] if result.is_complete else [f"{len(result.runs)} of {len(result.seeds)} seeds"]
        if self.paper:
            mark = "" if self.paper.mark == "CONFIRMED" else DAGGER
            gap = self.difference
            parts.insert(0, NOT_COMPARABLE if gap is None else BADGES[gap.verdict] + mark)
        return ", ".join(parts)


def compare(spec: TableSpec, result: CellResult) -> Compared:
    """Put a result beside the paper's number."""
    is_comparable = spec.budget == "paper" and result.cell.has_papers_tasks
    return Compared(result, result.estimate(scale(spec)), result.cell.paper, is_comparable)


def scale(spec: TableSpec) -> float:
    """Return the factor from a recorded number to the table's unit: accuracies are in percent."""
    return 100.0 if "accuracy" in spec.head.metric else 1.0


def cell_label(config: TrialConfig, data_digests: Mapping[str, str]) -> str:
    """Name a training by its content: settings without the seed, data, version of the numbers.

    Args:
        config: of any seed.
        data_digests: from `check_data`.
    """
    settings = config.digest(without_seed=True)
    return f"{settings}-{data_digests[settings][:8]}-v{NUMERICS_VERSION}"


def read_results(request: TableRequest) -> TableResults:
    """Find the finished runs of every cell, the newest of each seed.

    Runs of another NUMERICS_VERSION do not count, nor do runs on other data than the newest run
    of the same benchmark; their number is given apart. With `any_version` they count where a
    seed has no better run.

    Raises:
        ConfigError: the store is not reachable.
    """
    spec, seeds = request.spec, request.seeds
    sources = (request.folder.name, *request.runs_from) if is_made(request.store) else ()
    frames = [runs_frame(request.store, source) for source in sources]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return TableResults({(c.row, c.column): CellResult(c, seeds) for c in spec.cells})
    runs = _best_first(spec, complete_runs(pd.concat(frames, ignore_index=True)))
    counted = runs if request.any_version else runs[~runs["is_other"]]
    cells = {}
    for cell in spec.cells:
        found = _by_seed(counted[counted["config"] == _settings(cell)], cell.metric, seeds)
        cells[cell.row, cell.column] = CellResult(cell, seeds, found)
    left_out = runs.drop(counted.index)
    num_version = int(left_out["is_other_version"].sum())
    return TableResults(cells, num_version, len(left_out) - num_version)


def _best_first(spec: TableSpec, runs: pd.DataFrame) -> pd.DataFrame:
    """Order the table's runs: those that can be compared, then the others, each newest first.

    The columns `is_other` and `is_other_version` are added.
    """
    runs = runs[runs["config"].isin({_settings(cell) for cell in spec.cells})]
    is_other_version = _versions(runs) != str(NUMERICS_VERSION)
    is_older = _is_on_older_data(spec, runs[~is_other_version])
    is_other = is_other_version | is_older.reindex(runs.index, fill_value=False)
    runs = runs.assign(is_other=is_other, is_other_version=is_other_version)
    return runs.sort_values(["is_other", "start_time"], ascending=[True, False])


def _settings(cell: Cell) -> str:
    return cell.config.digest(without_seed=True)


def _versions(runs: pd.DataFrame) -> pd.Series:
    """NUMERICS_VERSION of each run, as text."""
    column = "tags.numerics_version"
    return runs.reindex(columns=[column])[column].fillna(FIRST_VERSION).astype(str)


def _is_on_older_data(spec: TableSpec, runs: pd.DataFrame) -> pd.Series:
    """Mark the runs on other data than the newest run of the same benchmark."""
    alike: dict[tuple[BenchmarkConfig, str], set[str]] = {}  # what names the data -> settings
    for cell in spec.cells:
        data = (cell.config.benchmark, cell.config.target.weights)
        alike.setdefault(data, set()).add(_settings(cell))
    is_older = runs["config"].isna()  # no run is marked yet
    known = runs.dropna(subset=["data_digest"]).sort_values("start_time")
    for settings in alike.values():
        digests = known["data_digest"][known["config"].isin(settings)]
        is_older[digests.index] = ~digests.isin(digests[-1:])
    return is_older


def _by_seed(runs: pd.DataFrame, metric: str, seeds: Sequence[int]) -> dict[int, Run]:
    """Take the first run of each seed that has the metric."""
    found: dict[int, Run] = {}
    for row in runs.to_dict("records"):
        seed, value = int(row["seed"]), row.get(metric)
        if seed not in seeds or seed in found or value is None or value != value:
            continue
        found[seed] = Run(
            run_id=row["run_id"],
            sweep=str(row.get("tags.sweep", "")),
            label=str(row["tags.trial"]),
            value=float(value),
            hours=float(row.get("wall_seconds", 0.0)) / 3600,
            ratio=float(row.get("compression_ratio", float("nan"))),
            commit=str(row.get("tags.git_commit", "?"))[:7],
            is_other=bool(row["is_other"]),
        )
    return {seed: found[seed] for seed in sorted(found)}


def running_averages(store: Store, result: CellResult) -> list[list[float]]:
    """Read the average accuracy after each task, a list for each seed."""
    return [running_average_accuracy(matrix) for matrix in matrices(store, result).values()]


def matrices(store: Store, result: CellResult) -> dict[int, Matrix]:
    """Read the accuracy matrices of a cell, in the scenario it is scored in, by seed."""
    name = result.cell.metric.rsplit("/", 1)[0]
    return {seed: _matrix(store, run.run_id, name) for seed, run in result.runs.items()}


@lru_cache(maxsize=1000)
def _matrix(store: Store, run_id: str, name: str) -> Matrix:
    return accuracy_matrices(store, run_id)[name]  # the run has finished: it never changes
