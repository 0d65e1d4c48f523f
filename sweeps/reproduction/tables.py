"""A table's results as tables: the grid at a glance, every cell in full, tests between methods."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hcl.config.schema import added_later_at_default
from sweeps.output.metric_names import UNITS, heading, mode_of
from sweeps.output.statistics.paired import paired_table
from sweeps.output.statistics.welch import CONFIDENCE, MIN_SEEDS, Difference
from sweeps.output.table import Entry, Table, best_of_rows
from sweeps.reproduction.results import (
    DAGGER,
    NOT_COMPARABLE,
    CellResult,
    Compared,
    TableResults,
    compare,
    scale,
)
from sweeps.reproduction.table_file import Cell, Paper, TableSpec

TASK = {"task": "the task is given", "domain": "the task is not given, all share the outputs",
        "class": "the task is not given, all classes compete"}  # fmt: skip
# Settings that say how a number was measured. A cell names those that it has not at the default.
PROTOCOL = (
    "benchmark/class_order",
    "benchmark/order_seed",
    "benchmark/first_task_permuted",
    "method/distillation",
)


@dataclass(frozen=True)
class Origin:
    """Command and commit that made a table; every output names them."""

    command: str
    commit: str


def title(spec: TableSpec) -> str:
    """Return the table's title, with its part of the iterations unless that is all."""
    part = "" if spec.budget == "paper" else f", {100 * spec.fraction:g}% of the iterations"
    return f"{spec.head.title}{part}"


def banner(spec: TableSpec) -> str:
    """Say what a table below the paper's budget is not; empty at the paper's own."""
    if spec.budget == "paper":
        return ""
    part = f"{100 * spec.fraction:g}% of the iterations"
    return f"{part}, not the paper's setting: no number here confirms or refutes the paper"


def all_tables(
    spec: TableSpec, results: TableResults, origin: Origin, more: Sequence[str] = ()
) -> list[Table]:
    """Make every table that is printed or written, the short form first.

    Args:
        spec: the table.
        results: of its cells.
        origin: command and commit, which become notes.
        more: further notes.
    """
    grid = _grid(spec, results, [*_legend(spec, results), *more])
    grid = replace(grid, origin=(f"command: {origin.command}", f"commit: {origin.commit}"))
    tables = [grid, _every_cell(spec, results)]
    tests = _tests(spec, results)
    return [*tables, tests] if tests.rows else tables


def _grid(spec: TableSpec, results: TableResults, notes: Sequence[str]) -> Table:
    """The rows and columns of the table file: our number, below it the paper's and a badge."""
    found = {key: compare(spec, result) for key, result in results.cells.items()}
    rows: list[tuple[Entry, ...]] = []
    for row in spec.rows:
        cells = [found.get((row, key)) for key in spec.columns]
        rows.append((row, "ours", *(cell.ours if cell else None for cell in cells)))
        if any(cell.theirs for cell in cells if cell):
            rows.append((row, "paper", *(cell.theirs if cell else None for cell in cells)))
        if any(cell.badge for cell in cells if cell):
            rows.append((row, "verdict", *(cell.badge if cell else "" for cell in cells)))
    metric = spec.head.metric
    words = f"{title(spec)}: {heading(metric)}"
    ours = [row if row[1] == "ours" else () for row in rows]
    return Table(
        words,
        ("", "", *spec.columns.values()),
        tuple(rows),
        tuple(notes),
        banner=banner(spec),
        narrow=_narrow(spec, list(found.values()), words, notes),
        bold=best_of_rows(ours, mode_of(metric)),
    )


def _narrow(spec: TableSpec, every: Sequence[Compared], title: str, notes: Sequence[str]) -> Table:
    """The same with a line for each cell."""
    columns: dict[str, list[Entry]] = {
        "": [one.result.cell.row for one in every],
        "method": [spec.columns[one.result.cell.column] for one in every],
        "ours": [one.ours for one in every],
        "paper": [one.theirs for one in every],
        "verdict": [one.badge for one in every],
    }
    return replace(Table.from_columns(title, columns, notes), banner=banner(spec))


def _legend(spec: TableSpec, results: TableResults) -> list[str]:
    """Notes that say what the numbers are, and what is missing or does not count."""
    cells = results.cells.values()
    missing = sum(not result.is_complete for result in cells)
    notes = [
        UNITS,
        *_legend_of_rows(spec, results),
        *_legend_of_paper(spec, results),
        *_legend_of_protocols(spec, results),
    ]
    if missing:
        notes.append(f"{missing} of {len(cells)} cells are missing or not complete")
    if spec.hidden:
        notes.append(f"left out by --only: {', '.join(spec.hidden)}")
    for count, what in (
        (results.num_other_version, "with another NUMERICS_VERSION"),
        (results.num_other_data, "on other data than the newest"),
    ):
        if count:
            notes.append(
                f"not counted: {count} finished runs of these settings {what}"
                " (--any-version counts them)"
            )
    runs = [run for result in cells for run in result.runs.values()]
    if others := sorted({run.commit for run in runs if run.is_other}):
        notes.append(f"counted by --any-version: runs of commits {', '.join(others)}")
    return [*notes, *spec.head.notes]


def _legend_of_paper(spec: TableSpec, results: TableResults) -> list[str]:
    papers = [result.cell.paper for result in results.cells.values() if result.cell.paper]
    if not papers or spec.budget != "paper":
        return []
    notes = [
        f"agrees: no difference at {CONFIDENCE:.0%} (Welch); below, above: ours is lower, higher;"
        f" too few seeds: no SEM, or fewer than {MIN_SEEDS} seeds"
    ]
    if not all(result.cell.has_papers_tasks for result in results.cells.values()):
        notes.append(
            f"{NOT_COMPARABLE}: every seed draws its own tasks here (order_seed trial) and not in"
            " the paper, or the reverse"
        )
    if any(paper.mark == "RECALLED" for paper in papers):
        notes.append(f"{DAGGER} recalled from memory and found in no source: confirms nothing")
    return notes


def _legend_of_rows(spec: TableSpec, results: TableResults) -> list[str]:
    """Say what the rows are: a benchmark, its tasks, and what is known of a test input."""
    said: dict[str, list[str]] = {}
    for row in spec.rows:
        kinds = {_kind(result.cell): None for result in results.cells.values()
                 if result.cell.row == row}  # fmt: skip
        said.setdefault("; ".join(kinds), []).append(row)
    return [f"{', '.join(rows)}: {kind}" for kind, rows in said.items()]


def _kind(cell: Cell) -> str:
    benchmark, scenario = cell.config.benchmark, cell.metric.split("/")[1]
    if benchmark.info.is_regression:
        return f"{benchmark.name}, {benchmark.num_tasks} tasks"
    return f"{benchmark.name}, {benchmark.num_tasks} tasks, {TASK[scenario]}"


def _legend_of_protocols(spec: TableSpec, results: TableResults) -> list[str]:
    """Name the columns of every protocol but the default one."""
    columns: dict[str, dict[str, None]] = {}
    for result in results.cells.values():
        label = spec.columns[result.cell.column]
        columns.setdefault(protocol(result.cell), {})[label] = None
    return [
        f"protocol of {', '.join(labels)}: {settings}"
        for settings, labels in columns.items()
        if settings
    ]


def protocol(cell: Cell) -> str:
    """Write the settings that a cell was measured with and that differ from the defaults."""
    named = []
    for key in PROTOCOL:
        group, _, name = key.partition("/")
        settings = getattr(cell.config, group)
        if hasattr(settings, name) and name not in added_later_at_default(settings):
            named.append(f"{name} {getattr(settings, name)}")
    return ", ".join(named)


def _every_cell(spec: TableSpec, results: TableResults) -> Table:
    """A row for each cell: nothing abbreviated, numbers in columns. Add a column here."""
    every = [compare(spec, result) for result in results.cells.values()]
    columns: dict[str, list[Entry]] = {
        "row": [one.result.cell.row for one in every],
        "method": [spec.columns[one.result.cell.column] for one in every],
        "ours": [one.ours for one in every],
        "paper": [one.theirs for one in every],
        "mark": [_describe_mark(one.paper) for one in every],
        "difference": [_describe_gap(one.difference)[0] for one in every],
        f"{CONFIDENCE:.0%} from": [_describe_gap(one.difference)[1] for one in every],
        f"{CONFIDENCE:.0%} to": [_describe_gap(one.difference)[2] for one in every],
        "verdict": [one.badge for one in every],
        "protocol": [protocol(one.result.cell) for one in every],
        "seeds": [f"{len(one.result.runs)} of {len(one.result.seeds)}" for one in every],
        "compression ratio": [_ratio(one.result) for one in every],
        "core hours": [
            f"{sum(run.hours for run in one.result.runs.values()):.2f}" for one in every
        ],
        "commits": [
            ", ".join(sorted({run.commit for run in one.result.runs.values()})) for one in every
        ],
        "configuration": [one.result.cell.config.digest(without_seed=True) for one in every],
    }
    return Table.from_columns(f"{title(spec)}: every cell, {heading(spec.head.metric)}", columns)


def _describe_mark(paper: Paper | None) -> str:
    """Return whether the paper's number was seen in a source; the SEM where it differs."""
    if paper is None:
        return ""
    return paper.mark if paper.mark == paper.sem_mark else f"{paper.mark}, SEM {paper.sem_mark}"


def _describe_gap(gap: Difference | None) -> tuple[str, str, str]:
    """Write a difference and both ends of its interval."""
    if gap is None:
        return "", "", ""
    low, high = ("", "") if gap.interval is None else (f"{end:+.2f}" for end in gap.interval)
    return f"{gap.mean:+.2f}", low, high


def _ratio(result: CellResult) -> str:
    ratios = [run.ratio for run in result.runs.values()]
    return f"{ratios[0]:.3f}" if ratios and ratios[0] == ratios[0] else ""


def _tests(spec: TableSpec, results: TableResults) -> Table:
    """Tests of every pair of complete methods in a row, if their seeds share tasks."""
    groups: dict[str, dict[str, dict[int, float]]] = {row: {} for row in spec.rows}
    for (row, column), result in results.cells.items():
        if result.is_complete:  # others have fewer seeds, which are never compared
            name = f"{row}, order_seed trial" if result.cell.draws_tasks else row
            groups.setdefault(name, {})[spec.columns[column]] = result.values(scale(spec))
    mode = mode_of(spec.head.metric)
    return paired_table(f"{title(spec)}: methods against each other", groups, mode)
