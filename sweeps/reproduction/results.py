"""What the records hold for each cell. The only reader of MLflow in this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from hcl.config import BenchmarkConfig, TrialConfig
from hcl.results import NUMERICS_VERSION, Matrix
from sweeps.output.table import Estimate
from sweeps.reproduction.table_file import Cell, TableSpec

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.tracking import Store


FIRST_VERSION = "1"  # of the numbers, in runs whose records do not say it


def cell_label(config: TrialConfig, data_digests: Mapping[str, str]) -> str:
    """Name a training by its content: settings without the seed, data, version of the numbers.

    Args:
        config: any seed's.
        data_digests: as `check_data` gives them.
    """
    settings = config.digest(without_seed=True)
    return f"{settings}-{data_digests[settings][:8]}-v{NUMERICS_VERSION}"


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
    is_other: bool  # version of the numbers, or data


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
    num_other_version: int = 0  # finished runs of these settings that do not count, by version
    num_other_data: int = 0  # and by data


def collect(
    spec: TableSpec,
    seeds: Sequence[int],
    store: Store,
    sources: Sequence[str],
    any_version: bool = False,
) -> Collected:
    """Find the finished runs of every cell, the newest of each seed.

    Runs of another NUMERICS_VERSION do not count, nor do those on other data than the newest run
    of the same benchmark; they are counted apart.

    Args:
        spec: the table.
        seeds: that count.
        store: where the runs are.
        sources: sweeps (experiments) to look in, the table's own first.
        any_version: count the others too, where a seed has no run that counts.

    Raises:
        ConfigError: the store is not reachable.
    """
    import pandas as pd

    from sweeps.reports.runs import complete_runs
    from sweeps.tracking import is_made, runs_frame

    frames = [runs_frame(store, source) for source in sources] if is_made(store) else []
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return Collected({(c.row, c.column): CellResult(c, tuple(seeds)) for c in spec.cells})
    runs = _best_first(spec, complete_runs(pd.concat(frames, ignore_index=True)))
    counted = runs if any_version else runs[~runs["is_other"]]
    cells = {}
    for cell in spec.cells:
        mine = _by_seed(counted[counted["config"] == _settings(cell)], cell.metric, seeds)
        cells[cell.row, cell.column] = CellResult(cell, tuple(seeds), mine)
    left_out = runs.drop(counted.index)
    num_version = int(left_out["is_other_version"].sum())
    return Collected(cells, num_version, len(left_out) - num_version)


def _best_first(spec: TableSpec, runs: pd.DataFrame) -> pd.DataFrame:
    """Order the table's runs: those that can be compared, then the others, each newest first.

    The columns `is_other` and `is_other_version` are added.
    """
    runs = runs[runs["config"].isin({_settings(cell) for cell in spec.cells})]
    is_other_version = _version(runs) != str(NUMERICS_VERSION)
    is_older = _is_on_older_data(spec, runs[~is_other_version])
    is_other = is_other_version | is_older.reindex(runs.index, fill_value=False)
    runs = runs.assign(is_other=is_other, is_other_version=is_other_version)
    return runs.sort_values(["is_other", "start_time"], ascending=[True, False])


def _settings(cell: Cell) -> str:
    return cell.config.digest(without_seed=True)


def _version(runs: pd.DataFrame) -> pd.Series:
    """Give each run's NUMERICS_VERSION, as text."""
    column = "tags.numerics_version"
    return runs.reindex(columns=[column])[column].fillna(FIRST_VERSION).astype(str)


def _is_on_older_data(spec: TableSpec, runs: pd.DataFrame) -> pd.Series:
    """Whether each run is on other data than the newest run of the same benchmark."""
    alike: dict[tuple[BenchmarkConfig, str], set[str]] = {}  # settings, by what names their data
    for cell in spec.cells:
        data = (cell.config.benchmark, cell.config.target.weights)
        alike.setdefault(data, set()).add(_settings(cell))
    is_older = runs["config"].isna()  # none is yet
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
            row["run_id"],
            str(row.get("tags.sweep", "")),
            str(row["tags.trial"]),
            float(value),
            float(row.get("wall_seconds", 0.0)) / 3600,
            float(row.get("compression_ratio", float("nan"))),
            str(row.get("tags.git_commit", "?"))[:7],
            bool(row["is_other"]),
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
