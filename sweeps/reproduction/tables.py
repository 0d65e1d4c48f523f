"""Collected cells -> tables: the grid at a glance, every cell in full, tests between methods."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.output.statistics import (
    CONFIDENCE,
    MIN_SEEDS,
    Difference,
    Verdict,
    difference,
    paired_table,
)
from sweeps.output.table import Cell, Estimate, Table, number
from sweeps.reproduction.results import CellResult, Collected
from sweeps.reproduction.table_file import TableSpec

SIGNS: dict[Verdict, str] = {"matches": "=", "below": "<", "above": ">", "unknown": "?"}
DAGGER = "†"  # a number of the paper that no source confirms


@dataclass(frozen=True)
class Provenance:
    """What an output must say about its numbers."""

    command: str
    commit: str


def all_tables(
    spec: TableSpec, found: Collected, origin: Provenance, more: Sequence[str] = ()
) -> list[Table]:
    """Everything that is printed and written, the short form first; `more` are further notes."""
    notes = (
        *_legend(spec, found),
        *more,
        f"command: {origin.command}",
        f"commit: {origin.commit}",
    )
    tables = [_grid(spec, found, notes), _in_full(spec, found)]
    tests = _tests(spec, found)
    return [*tables, tests] if tests.rows else tables


def scale(spec: TableSpec) -> float:
    """Of a recorded number to the table's unit: accuracies are in percent."""
    return 100.0 if "accuracy" in spec.head.metric else 1.0


def title(spec: TableSpec) -> str:
    """The table's title, with its budget unless that is the paper's."""
    if spec.budget == "paper":
        return spec.head.title
    return f"{spec.head.title}, budget {spec.budget}: {spec.fraction:g} of the iterations"


def _grid(spec: TableSpec, found: Collected, notes: tuple[str, ...]) -> Table:
    rows = []
    for row in spec.rows:
        cells = (found.cells.get((row, column)) for column in spec.columns)
        rows.append((row, *(_short(cell, spec) if cell else None for cell in cells)))
    return Table(title(spec), ("", *spec.columns.values()), tuple(rows), notes)


def _short(result: CellResult, spec: TableSpec) -> Cell:
    """`99.71 ± 0.04 (5) = 99.79†`: ours, verdict, the paper's."""
    ours = result.estimate(scale(spec))
    if ours is None:
        return f"missing ({len(result.seeds)} seeds)"
    text = str(ours)
    if not result.is_complete:
        text += f" of {len(result.seeds)}"
    paper = result.cell.paper
    if paper is None or spec.budget != "paper":
        return text
    mark = "" if paper.mark == "CONFIRMED" else DAGGER
    return f"{text} {SIGNS[_against_paper(result, ours).verdict]} {number(paper.mean)}{mark}"


def _against_paper(result: CellResult, ours: Estimate) -> Difference:
    paper = result.cell.paper
    assert paper is not None
    return difference(ours, Estimate(paper.mean, paper.sem, paper.n))


def _legend(spec: TableSpec, found: Collected) -> list[str]:
    notes = ["mean ± SEM (n seeds); n = 1 has no SEM"]
    papers = [result.cell.paper for result in found.cells.values() if result.cell.paper]
    if papers and spec.budget == "paper":
        notes.append(
            f"after it the paper's mean; = no difference at {CONFIDENCE:.0%} (Welch),"
            f" < ours is below, > above, ? no SEM or fewer than {MIN_SEEDS} seeds"
        )
        if any(paper.mark == "RECALLED" for paper in papers):
            notes.append(f"{DAGGER} recalled from memory, seen in no source: no confirmation")
    if spec.budget != "paper":
        notes.append(
            f"budget {spec.budget}: {spec.fraction:g} of the paper's iterations, so its numbers"
            " are not compared with"
        )
    missing = sum(not result.is_complete for result in found.cells.values())
    if missing:
        notes.append(f"{missing} of {len(found.cells)} cells are missing or not complete")
    if spec.hidden:
        notes.append(f"left out by --only: {', '.join(spec.hidden)}")
    for count, what in (
        (found.num_other_version, "with another NUMERICS_VERSION"),
        (found.num_other_data, "on other data than the newest"),
    ):
        if count:
            notes.append(
                f"not counted: {count} finished runs of these settings {what}"
                " (--any-version counts them)"
            )
    others = {run.commit for r in found.cells.values() for run in r.runs.values()
              if run.is_other}  # fmt: skip
    if others:
        notes.append(f"counted by --any-version: runs of commits {', '.join(sorted(others))}")
    return [*notes, *spec.head.notes]


def _in_full(spec: TableSpec, found: Collected) -> Table:
    """A line for each cell: nothing abbreviated, numbers as columns."""
    columns = ("row", "method", "ours", "paper", "mark", "difference [95% CI]", "verdict",
               "seeds", "compression ratio", "core hours", "commits", "configuration")  # fmt: skip
    rows = [_line(spec, found.cells[key]) for key in found.cells]
    return Table(f"{title(spec)}: every cell", columns, tuple(rows))


def _line(spec: TableSpec, result: CellResult) -> tuple[Cell, ...]:
    cell, runs = result.cell, list(result.runs.values())
    ours = result.estimate(scale(spec))
    paper = cell.paper if spec.budget == "paper" else None
    theirs = Estimate(paper.mean, paper.sem, paper.n) if paper else None
    gap, verdict, mark = "", "", ""
    if paper and theirs:
        sure = "" if paper.mark == paper.sem_mark else f", SEM {paper.sem_mark}"
        mark = paper.mark + sure
    if ours and theirs:
        found = difference(ours, theirs)
        verdict = found.verdict
        bounds = "" if found.interval is None else " [{:+.2f}, {:+.2f}]".format(*found.interval)
        gap = f"{found.mean:+.2f}{bounds}"
    return (
        cell.row,
        spec.columns[cell.column],
        ours,
        theirs,
        mark,
        gap,
        verdict if ours else "missing",
        f"{len(runs)} of {len(result.seeds)}",
        f"{runs[0].ratio:.3f}" if runs and runs[0].ratio == runs[0].ratio else "",
        f"{sum(run.hours for run in runs):.2f}",
        ", ".join(sorted({run.commit for run in runs})),
        cell.config.digest(without_seed=True),
    )


def _tests(spec: TableSpec, found: Collected) -> Table:
    """Per row: every pair of methods on the seeds they share."""
    groups: dict[str, dict[str, dict[int, float]]] = {row: {} for row in spec.rows}
    for (row, column), result in found.cells.items():
        if result.runs:
            groups[row][spec.columns[column]] = result.values(scale(spec))
    return paired_table(f"{title(spec)}: methods against each other", groups)
