"""Table files (search_spaces/tables): their cells, the cells' settings, the paper's numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hcl.config import ConfigError, TrialConfig
from hcl.config.schema import build, setting, suggest
from sweeps.space.bundled import bundled_files, find_file
from sweeps.space.yaml_file import load_yaml, read_flat, read_mapping, refuse_unknown

# Fraction of the paper's iterations or epochs. Each budget is an experiment of its own.
BUDGETS = {"paper": 1.0, "quick": 0.1, "smoke": 0.01}

Mark = Literal["CONFIRMED", "RECALLED"]
ROW_KEYS = ("base", "trial", "scored", "metric", "cells")
CELL_KEYS = ("base", "trial", "scored", "metric", "paper")


@dataclass(frozen=True)
class Paper:
    """The paper's number for a cell: mean and SEM over n seeds, in the unit of its table."""

    mean: float
    mark: Mark  # RECALLED: from memory, found in no source
    sem: float | None = None
    sem_mark: Mark = "CONFIRMED"
    n: int = setting(20, ge=1)
    # As the cell's benchmark/order_seed: trial where each of the paper's seeds drew its own tasks.
    order_seed: Literal["trial"] | None = None


@dataclass(frozen=True)
class Cell:
    """One number of a table: which training gives it, and which of its metrics.

    Attributes:
        row: key of its row.
        column: key of its column.
        config: the training's, of any seed.
        metric: name of the measured number, e.g. test/task/average_accuracy.
        paper: the paper's number, if it has one.
    """

    row: str
    column: str
    config: TrialConfig
    metric: str
    paper: Paper | None

    @property
    def draws_tasks(self) -> bool:
        """True where each seed draws tasks of its own; else all seeds have the same."""
        return self.config.benchmark.order_seed == "trial"

    @property
    def has_papers_tasks(self) -> bool:
        """True where the paper's seeds had tasks of their own exactly if ours have."""
        return self.paper is None or self.draws_tasks == (self.paper.order_seed == "trial")


@dataclass(frozen=True)
class _Head:
    """The keys of a table file that are plain values."""

    title: str
    metric: str = "average_accuracy"  # last part of the metric's name
    figure: Literal[
        "none", "curves", "scan", "embedding_space", "transfer", "samples", "functions"
    ] = "none"
    x: str = ""  # scan: a setting (method/ewc_lambda) or a metric (compression_ratio)
    x_label: str = ""
    reference: str = ""  # transfer: the column whose networks learned each task alone
    grid_points: int = setting(41, ge=2, le=1001)  # embedding_space: points per side
    grid_samples: int = setting(0, ge=0)  # embedding_space: test samples per task; 0 = all
    grid_tasks: tuple[int, ...] = setting((), ge=0)  # embedding_space: tasks drawn; [] = all
    seeds: int = setting(20, ge=1)  # the paper's number of seeds, the default of --seeds
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableSpec:
    """A checked table file."""

    name: str
    head: _Head
    columns: dict[str, str]  # key -> label, in order
    rows: tuple[str, ...]
    cells: tuple[Cell, ...]
    budget: str = "paper"
    hidden: tuple[str, ...] = field(default=())  # rows and columns that --only left out

    def at_budget(self, budget: str) -> "TableSpec":
        """Return the same cells with a fraction of the iterations.

        Args:
            budget: one of BUDGETS, or a fraction such as 0.02; one that has a name gets it.

        Raises:
            ConfigError: there is no such budget.
        """
        share = _fraction(budget)
        named = next((name for name, known in BUDGETS.items() if known == share), f"{share:g}")
        cells = tuple(replace(cell, config=_scaled(cell.config, share)) for cell in self.cells)
        return replace(self, cells=cells, budget=named)

    def only(self, names: list[str]) -> "TableSpec":
        """Keep the named rows and columns; no row named = all rows, and the same for columns.

        Raises:
            ConfigError: a name is neither a row nor a column, or no cell is left.
        """
        known = (*self.rows, *self.columns)
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"--only {name!r}: {self.name} has no such row or column{suggest(name, known)}"
                )
        rows = [row for row in self.rows if row in names] or list(self.rows)
        columns = [key for key in self.columns if key in names] or list(self.columns)
        cells = tuple(c for c in self.cells if c.row in rows and c.column in columns)
        if not cells:
            raise ConfigError(f"--only {','.join(names)}: {self.name} has no such cell")
        shown = {key: label for key, label in self.columns.items() if key in columns}
        hidden = tuple(name for name in known if name not in (*rows, *columns))
        return replace(self, rows=tuple(rows), columns=shown, cells=cells, hidden=hidden)

    @property
    def fraction(self) -> float:
        """Fraction of the paper's iterations."""
        return _fraction(self.budget)

    def trainings(self, seeds: list[int]) -> list[TrialConfig]:
        """List the trainings of all cells, each once, every cell's first seed first."""
        found: dict[str, TrialConfig] = {}
        for seed in seeds:
            for cell in self.cells:
                config = replace(cell.config, seed=seed)
                found.setdefault(config.digest(), config)
        return list(found.values())


def names() -> list[str]:
    """List the tables that can be reproduced."""
    return list(bundled_files("table"))


def load_table(name: str) -> TableSpec:
    """Read a table by its name, or from a file of the user's own.

    Raises:
        ConfigError: there is no such table, or every problem of its file.
    """
    path = find_file(name, "table")
    if not path.exists():
        raise ConfigError(f"there is no table {name!r}{suggest(name, names())}")
    try:
        return parse_table(load_yaml(path), path.stem)
    except ConfigError as error:
        raise ConfigError([f"{path.name}: {message}" for message in error.errors]) from None


def parse_table(document: Mapping[str, Any], name: str) -> TableSpec:
    """Check the content of a table file.

    Raises:
        ConfigError: every problem of the content.
    """
    errors: list[str] = []
    sections = ("bases", "columns", "rows")
    head = build(_Head, {k: v for k, v in document.items() if k not in sections}, "", errors)
    bases, columns, rows = (read_mapping(document.get(key, {}), key, errors) for key in sections)
    shared = {key: read_flat(base, f"bases.{key}", errors) for key, base in bases.items()}
    cells: list[Cell] = []
    for row, content in rows.items():
        cells += _parse_row(str(row), content, columns, shared, head, errors)
    if head and head.figure == "transfer" and head.reference not in columns:
        known = suggest(head.reference, map(str, columns))
        errors.append(f"reference: {head.reference!r} is not a column{known}")
    labels = {str(key): str(label) for key, label in columns.items()}
    if len({"", *labels.values()}) <= len(labels):
        errors.append(f"columns: each needs a name of its own but got {[*labels.values()]}")
    if not cells and not errors:
        errors.append("rows: must hold at least one cell")
    if errors or head is None:
        raise ConfigError(errors)
    return TableSpec(name, head, labels, tuple(map(str, rows)), tuple(cells))


def _parse_row(
    row: str,
    content: Any,
    columns: Mapping[str, Any],
    bases: dict[str, dict[str, Any]],
    head: _Head | None,
    errors: list[str],
) -> Iterator[Cell]:
    path = f"rows.{row}"
    content = read_mapping(content, path, errors)
    refuse_unknown(content, ROW_KEYS, f"{path}.", errors)
    start = _settings(content, path, bases, errors)
    for column, cell in read_mapping(content.get("cells", {}), f"{path}.cells", errors).items():
        where = f"{path}.cells.{column}"
        if column not in columns:
            errors.append(f"{where}: is not a column{suggest(str(column), columns)}")
        cell = read_mapping(cell, where, errors)
        refuse_unknown(cell, CELL_KEYS, f"{where}.", errors)
        values = {**start, **_settings(cell, where, bases, errors)}
        paper = build(Paper, cell["paper"], f"{where}.paper.", errors) if "paper" in cell else None
        try:
            config = TrialConfig.from_dict({**values, "seed": 1})
        except ConfigError as error:
            errors += [f"{where}: {message}" for message in error.errors]
            continue
        scored = cell.get("scored", content.get("scored", config.scenario))
        if scored not in config.eval_scenarios:
            errors.append(f"{where}: is not scored in {scored!r}; add it to its eval_scenarios")
        named = cell.get("metric", content.get("metric", head.metric if head else ""))
        metric = f"test/{scored}/{named}"
        if head and head.figure == "embedding_space":
            errors += [f"{where}: {problem}" for problem in _no_embedding_space(config, head)]
        yield Cell(row, str(column), config, metric, paper)


def _no_embedding_space(config: TrialConfig, head: _Head) -> list[str]:
    """List the reasons why a cell's embeddings cannot be drawn in a plane."""
    if config.method_name != "hnet" or config.benchmark.info.is_regression:
        return ["figure: embedding_space can only draw accuracies of hnet"]
    problems = []
    if (size := config.to_dict()["method/embedding_size"]) != 2:
        problems.append(f"figure: embedding_space needs method/embedding_size 2 but got {size}")
    late = [i for i in head.grid_tasks if i >= config.benchmark.num_tasks]
    return problems + [f"grid_tasks: there is no task {i}, tasks count from 0" for i in late]


def _settings(
    content: Mapping[str, Any], path: str, bases: dict[str, dict[str, Any]], errors: list[str]
) -> dict[str, Any]:
    """Merge the settings of a row or a cell: its bases in order, then its own."""
    named = content.get("base", [])
    merged: dict[str, Any] = {}
    for name in named if isinstance(named, list) else [named]:
        if name not in bases:
            errors.append(f"{path}.base: there is no base {name!r}{suggest(str(name), bases)}")
        merged |= bases.get(name, {})
    return merged | read_flat(content.get("trial", {}), f"{path}.trial", errors)


def _fraction(budget: str) -> float:
    if budget in BUDGETS:
        return BUDGETS[budget]
    try:
        share = float(f"{float(budget):g}")  # with the digits that its records' name has
    except ValueError:
        share = 0.0
    if not 0.0001 <= share <= 1:
        raise ConfigError(
            f"--budget {budget!r}: use one of {', '.join(BUDGETS)}, or a fraction from 0.0001 to 1"
        )
    return share


def _scaled(config: TrialConfig, fraction: float) -> TrialConfig:
    train = config.train
    if train.epochs:  # need not be a whole number
        return replace(config, train=replace(train, epochs=float(f"{fraction * train.epochs:g}")))
    iterations = max(1, round(fraction * train.iterations))
    return replace(config, train=replace(train, iterations=iterations))
