"""A table file of search_spaces/tables: its cells, their settings, the paper's numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hcl.config import ConfigError, TrialConfig, flatten
from hcl.config.schema import build, setting, suggest
from sweeps.space.yaml_file import load_yaml

FOLDER = Path(__file__).parents[2] / "search_spaces" / "tables"

# Fraction of the paper's iterations or epochs. Another budget is another experiment, never mixed.
BUDGETS = {"paper": 1.0, "quick": 0.1, "smoke": 0.01}

Mark = Literal["CONFIRMED", "RECALLED"]
ROW_KEYS = ("base", "trial", "scored", "metric", "cells")
CELL_KEYS = ("base", "trial", "paper")


@dataclass(frozen=True)
class Paper:
    """A number of the paper: mean and standard error over n seeds, in the unit of its table."""

    mean: float
    mark: Mark  # RECALLED: from memory, seen in no source
    sem: float | None = None
    sem_mark: Mark = "CONFIRMED"
    n: int = setting(20, ge=1)
    source: str = ""

    @property
    def is_confirmed(self) -> bool:
        """Whether both its parts were seen in a source."""
        return self.mark == self.sem_mark == "CONFIRMED"


@dataclass(frozen=True)
class Cell:
    """One number of a table: which training gives it, and which of its metrics.

    Attributes:
        row, column: keys of the table.
        config: of the training, any seed.
        metric: name of the measured number, e.g. test/task/average_accuracy.
        paper: what the paper says, if anything.
    """

    row: str
    column: str
    config: TrialConfig
    metric: str
    paper: Paper | None


@dataclass(frozen=True)
class _Head:
    """The keys of a table file that are plain values."""

    title: str
    metric: str = "average_accuracy"  # last part of the metric's name
    figure: Literal["none", "curves", "scan", "embedding_space", "transfer"] = "none"
    x: str = ""  # of a scan: a setting (method/ewc_lambda) or a metric (compression_ratio)
    x_label: str = ""
    reference: str = ""  # of transfer: the column whose networks learned each task alone
    grid_points: int = setting(41, ge=2, le=1001)  # of an embedding space, per side
    grid_samples: int = setting(0, ge=0)  # test samples per task there; 0 = all
    grid_tasks: tuple[int, ...] = setting((), ge=0)  # drawn there; [] = all
    seeds: int = setting(20, ge=1)  # of the paper; the default of --seeds
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableSpec:
    """A checked table file; `columns` are labels by key, in order."""

    name: str
    head: _Head
    columns: dict[str, str]
    rows: tuple[str, ...]
    cells: tuple[Cell, ...]
    budget: str = "paper"
    hidden: tuple[str, ...] = field(default=())  # rows and columns that --only left out

    def at_budget(self, budget: str) -> "TableSpec":
        """The same cells with a fraction of the iterations.

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
        """The cells in the rows and columns named; none named of one kind = all of it.

        Raises:
            ConfigError: a name is neither.
        """
        known = (*self.rows, *self.columns)
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"--only {name!r}: is no row or column of {self.name}{suggest(name, known)}"
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
        """Of the paper's iterations."""
        return _fraction(self.budget)

    def trainings(self, seeds: list[int]) -> list[TrialConfig]:
        """What must be trained, each once, seed by seed so that every cell has its first early."""
        found: dict[str, TrialConfig] = {}
        for seed in seeds:
            for cell in self.cells:
                config = replace(cell.config, seed=seed)
                found.setdefault(config.digest(), config)
        return list(found.values())


def names() -> list[str]:
    """Tables that can be reproduced."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_table(name: str) -> TableSpec:
    """Read a table by its name, or from a file of the user's own.

    Raises:
        ConfigError: there is no such table, or every problem of its file.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.exists():
        raise ConfigError(f"there is no table {name!r}{suggest(name, names())}")
    try:
        return parse_table(load_yaml(path), path.stem)
    except ConfigError as error:
        raise ConfigError([f"{path.name}: {message}" for message in error.errors]) from None


def parse_table(document: Mapping[str, Any], name: str) -> TableSpec:
    """As `load_table`, from the mapping that a file holds."""
    errors: list[str] = []
    sections = ("bases", "columns", "rows")
    head = build(_Head, {k: v for k, v in document.items() if k not in sections}, "", errors)
    bases, columns, rows = (_mapping(document.get(key, {}), key, errors) for key in sections)
    shared = {key: _flat(base, f"bases.{key}", errors) for key, base in bases.items()}
    cells: list[Cell] = []
    for row, content in rows.items():
        cells += _parse_row(str(row), content, columns, shared, head, errors)
    if head and head.figure == "transfer" and head.reference not in columns:
        known = suggest(head.reference, map(str, columns))
        errors.append(f"reference: {head.reference!r} is no column{known}")
    if not cells and not errors:
        errors.append("rows: must hold at least one cell")
    if errors or head is None:
        raise ConfigError(errors)
    labels = {str(key): str(label) for key, label in columns.items()}
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
    content = _mapping(content, path, errors)
    _refuse_unknown(content, ROW_KEYS, path, errors)
    start = _settings(content, path, bases, errors)
    for column, cell in _mapping(content.get("cells", {}), f"{path}.cells", errors).items():
        where = f"{path}.cells.{column}"
        if column not in columns:
            errors.append(f"{where}: is no column{suggest(str(column), columns)}")
        cell = _mapping(cell, where, errors)
        _refuse_unknown(cell, CELL_KEYS, where, errors)
        values = {**start, **_settings(cell, where, bases, errors)}
        paper = build(Paper, cell["paper"], f"{where}.paper.", errors) if "paper" in cell else None
        try:
            config = TrialConfig.from_dict({**values, "seed": 1})
        except ConfigError as error:
            errors += [f"{where}: {message}" for message in error.errors]
            continue
        scored = content.get("scored", config.scenario)
        if scored not in config.eval_scenarios:
            errors.append(f"{where}: is not scored in {scored!r}, see its eval_scenarios")
        metric = f"test/{scored}/{content.get('metric', head.metric if head else '')}"
        if head and head.figure == "embedding_space":
            errors += [f"{where}: {problem}" for problem in _no_embedding_space(config, head)]
        yield Cell(row, str(column), config, metric, paper)


def _no_embedding_space(config: TrialConfig, head: _Head) -> list[str]:
    """What keeps a cell's embeddings from being drawn in a plane."""
    if config.method_name != "hnet" or config.benchmark.info.is_regression:
        return ["figure: embedding_space draws accuracies of hnet alone"]
    problems = []
    if (size := config.to_dict()["method/embedding_size"]) != 2:
        problems.append(f"figure: embedding_space needs method/embedding_size 2 but got {size}")
    late = [i for i in head.grid_tasks if i >= config.benchmark.num_tasks]
    return problems + [f"grid_tasks: there is no task {i}, they count from 0" for i in late]


def _settings(
    content: Mapping[str, Any], path: str, bases: dict[str, dict[str, Any]], errors: list[str]
) -> dict[str, Any]:
    """Settings of a row or a cell: its bases in order, then its own."""
    named = content.get("base", [])
    merged: dict[str, Any] = {}
    for name in named if isinstance(named, list) else [named]:
        if name not in bases:
            errors.append(f"{path}.base: there is no base {name!r}{suggest(str(name), bases)}")
        merged |= bases.get(name, {})
    return merged | _flat(content.get("trial", {}), f"{path}.trial", errors)


def _flat(value: Any, path: str, errors: list[str]) -> dict[str, Any]:
    try:
        return flatten(_mapping(value, path, errors))
    except ConfigError as error:
        errors += [f"{path}.{message}" for message in error.errors]
        return {}


def _mapping(value: Any, path: str, errors: list[str]) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    errors.append(f"{path}: must be a mapping but got {value!r}")
    return {}


def _refuse_unknown(
    content: Mapping[str, Any], known: tuple[str, ...], path: str, errors: list[str]
) -> None:
    errors += [
        f"{path}.{key}: unknown key{suggest(str(key), known)}"
        for key in content
        if key not in known
    ]


def _fraction(budget: str) -> float:
    if budget in BUDGETS:
        return BUDGETS[budget]
    try:
        share = float(f"{float(budget):g}")  # as its records are named
    except ValueError:
        share = 0.0
    if not 0.0001 <= share <= 1:
        raise ConfigError(
            f"--budget {budget!r}: use one of {', '.join(BUDGETS)}, or a fraction from 0.0001 to 1"
        )
    return share


def _scaled(config: TrialConfig, fraction: float) -> TrialConfig:
    train = config.train
    if train.epochs:  # a part of an epoch is one too
        return replace(config, train=replace(train, epochs=float(f"{fraction * train.epochs:g}")))
    iterations = max(1, round(fraction * train.iterations))
    return replace(config, train=replace(train, iterations=iterations))
