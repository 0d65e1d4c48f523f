"""Tables of measured numbers: a number is always mean ± SEM (n).

One table, four forms: Markdown, LaTeX (booktabs), CSV with a column per part of a number, and a
rich table for the terminal.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclass(frozen=True)
class Estimate:
    """Mean over n seeds; `sem`, the standard error of the mean, is None for a single seed."""

    mean: float
    sem: float | None
    n: int

    @staticmethod
    def of(values: Iterable[float]) -> Estimate:
        """SEM = sample standard deviation (n - 1) / sqrt(n)."""
        sample = [float(value) for value in values]
        if not sample:
            raise ValueError("an estimate needs at least one value")
        sem = statistics.stdev(sample) / math.sqrt(len(sample)) if len(sample) > 1 else None
        return Estimate(statistics.fmean(sample), sem, len(sample))

    def __str__(self) -> str:
        if self.sem is None:
            return f"{number(self.mean)} (n = {self.n})"
        return f"{number(self.mean)} ± {number(self.sem)} ({self.n})"


Cell = str | Estimate | None  # None: nothing was measured, shown as a dash


@dataclass(frozen=True)
class Table:
    """A titled table; `notes` are the lines below it that say what its numbers are."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """GitHub's pipe table, notes as a list below."""
        columns = [_escape_markdown(name) for name in self.columns]
        rules = ["---:" if self._is_measured(i) else "---" for i in range(len(columns))]
        body = [[_escape_markdown(_show(cell)) for cell in row] for row in self.rows]
        lines = ["| " + " | ".join(cells) + " |" for cells in [columns, rules, *body]]
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([f"## {self.title}", "", *lines, *([""] if notes else []), *notes, ""])

    def latex(self) -> str:
        r"""A `table` for \usepackage{booktabs}, notes as comments and in the caption."""
        aligned = "".join("r" if self._is_measured(i) else "l" for i in range(len(self.columns)))
        body = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in self.rows]
        caption = _escape_latex(". ".join([self.title, *self.notes]))
        return "\n".join(
            [
                r"\begin{table}",
                r"  \centering",
                rf"  \caption{{{caption}}}",
                rf"  \begin{{tabular}}{{{aligned}}}",
                r"    \toprule",
                "    " + " & ".join(_escape_latex(name) for name in self.columns) + r" \\",
                r"    \midrule",
                *(f"    {line}" for line in body),
                r"    \bottomrule",
                r"  \end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def csv(self) -> str:
        """Full precision; a measured column becomes NAME mean, NAME SEM, NAME n."""
        measured = [self._is_measured(i) for i in range(len(self.columns))]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        header: list[str] = []
        for name, is_measured in zip(self.columns, measured, strict=True):
            header += (
                [f"{name} {part}" for part in ("mean", "SEM", "n")] if is_measured else [name]
            )
        writer.writerow(header)
        for row in self.rows:
            cells: list[object] = []
            for cell, is_measured in zip(row, measured, strict=True):
                cells += _csv_cells(cell) if is_measured else [cell]
            writer.writerow(cells)
        return buffer.getvalue()

    def rich(self) -> RichTable:
        """For the terminal; notes as its caption."""
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(title=self.title, caption="\n".join(self.notes), title_justify="left")
        table.caption_justify = "left"
        for index, name in enumerate(self.columns):
            # Texts, not strings: a name with [brackets] is no markup.
            if self._is_measured(index):  # its name breaks into lines, "97.00 ± 0.02 (5)" does not
                table.add_column(Text(name), justify="right", max_width=17)
            else:
                table.add_column(Text(name), overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(_show(cell)) for cell in row))
        return table

    def terminal(self, width: int = 120) -> str:
        """The rich table as text without colours."""
        from rich.console import Console

        console = Console(file=io.StringIO(), width=width, color_system=None)
        console.print(self.rich())
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    def _is_measured(self, column: int) -> bool:
        return any(isinstance(row[column], Estimate) for row in self.rows)


def numbers_csv(tables: Iterable[Table]) -> str:
    """Every number of several tables on a line of its own, with its unit, in full precision."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("table", "row", "column", "unit", "mean", "SEM", "n"))
    for table in tables:
        for row in table.rows:
            texts = [cell for cell in row if isinstance(cell, str)]
            for name, cell in zip(table.columns, row, strict=True):
                if isinstance(cell, Estimate):
                    unit = "%" if "(%)" in f"{table.title} {name}" else ""
                    plain = [text.replace(" (%)", "") for text in (table.title, name)]
                    place = (plain[0], " | ".join(texts), plain[1], unit)
                    writer.writerow([*place, *_csv_cells(cell)])
    return buffer.getvalue()


def number(value: float) -> str:
    """Two decimals; four significant digits where two decimals would show nothing."""
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.005 else f"{value:.2g}"


def _show(cell: Cell) -> str:
    return "-" if cell is None else str(cell)


def _latex_cell(cell: Cell) -> str:
    if cell is None:
        return "--"
    return _escape_latex(str(cell)).replace("±", r"$\pm$")


def _csv_cells(cell: Cell) -> list[object]:
    if isinstance(cell, Estimate):
        return [cell.mean, "" if cell.sem is None else cell.sem, cell.n]
    return [cell, "", ""]


def _escape_markdown(text: str) -> str:
    return text.replace("|", r"\|")


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}


def _escape_latex(text: str) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return escaped.replace("±", r"$\pm$").replace("β", r"$\beta$")
