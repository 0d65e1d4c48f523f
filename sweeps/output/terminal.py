"""Tables for a terminal of any width: columns where they fit, else a block of lines for each row.

Nothing is coloured, so that a table reads the same in a file, in a pipe and under NO_COLOR.
"""

import itertools
import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from sweeps.output.table import Table

UNKNOWN = 120  # columns of what is not a terminal: a file, a pipe
NARROWEST = 30  # a table is not squeezed into less
GAP = "  "
GLUE = "\u00a0"  # textwrap breaks no line at it
CELL = 16  # a longer text may break into lines, between its words


def terminal_width() -> int:
    """Return the columns of the terminal; the environment's COLUMNS wins, as in other programs."""
    return max(shutil.get_terminal_size((UNKNOWN, 24)).columns, NARROWEST)


def as_text(table: Table, width: int | None = None) -> str:
    """Write a table, its title above and its notes below, at most `width` columns wide.

    Args:
        table: is replaced by its `narrow` form where its own columns do not fit.
        width: None = the terminal's.
    """
    width = width or terminal_width()
    body = _columns(table, width)
    if body is None and table.narrow is not None:
        table = replace(table.narrow, origin=table.origin)
        body = _columns(table, width)
    parts = [*textwrap.wrap(table.title, width), *textwrap.wrap(table.banner, width), ""]
    parts += body if body is not None else _stacked(table, width)
    for note in (*table.notes, *table.origin):
        parts += textwrap.wrap(note, width, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join([*parts, ""])


def _columns(table: Table, width: int) -> list[str] | None:
    """Write columns; None where they do not fit. Headings break into lines, numbers do not."""
    shown = [[table.shown(row[i]) for row in table.rows] for i in range(len(table.columns))]
    widths = _widths(table, shown, width)
    if widths is None:
        return None
    lines = [textwrap.wrap(name, size) for name, size in zip(table.columns, widths, strict=True)]
    height = max(map(len, lines))
    heads = [[""] * (height - len(head)) + head for head in lines]
    written = [*_lines(table, heads, widths), "─" * (sum(widths) + len(GAP) * (len(widths) - 1))]
    for i, row in enumerate(zip(*shown, strict=True)):
        row = ("", *row[1:]) if table.repeats(i) else row
        cells = [textwrap.wrap(cell, size) for cell, size in zip(row, widths, strict=True)]
        written += _lines(table, cells, widths)
    return [*written, ""]


def _widths(table: Table, shown: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Share the terminal's columns out: first to the texts that a row has, then to headings."""
    cells = [max(map(len, texts), default=0) for texts in shown]
    words = [max(map(len, name.split()), default=0) for name in table.columns]
    widths = [
        max(word, cell if table.is_measured(i) else max(min(cell, CELL), _longest(shown[i])))
        for i, (word, cell) in enumerate(zip(words, cells, strict=True))
    ]
    room = width - sum(widths) - len(GAP) * (len(widths) - 1)
    if room < 0:
        return None
    for wanted in (cells, list(map(len, table.columns))):
        for i, size in enumerate(wanted):
            more = max(0, min(room, size - widths[i]))
            widths[i] += more
            room -= more
    return widths


def _longest(texts: Sequence[str]) -> int:
    """Measure the longest part of these texts that stays in one line."""
    return max((len(part) for text in texts for part in re.split(r"\s|(?<=-)", text)), default=0)


def _lines(table: Table, cells: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Write one row, as many lines as its highest cell has."""
    lines = []
    for parts in itertools.zip_longest(*cells, fillvalue=""):
        padded = [
            f"{part:>{size}}" if table.is_measured(i) else f"{part:{size}}"
            for i, (part, size) in enumerate(zip(parts, widths, strict=True))
        ]
        lines.append(GAP.join(padded).rstrip())
    return lines


def _stacked(table: Table, width: int) -> list[str]:
    """Write a block for each row: what it is, its numbers one below the other, the rest."""
    measured = [i for i in range(len(table.columns)) if table.is_measured(i)]
    first = measured[0] if measured else 1
    pad = max((len(table.columns[i]) for i in measured), default=0)
    lines: list[str] = []
    for row in table.rows:
        said = [
            (i, f"{table.columns[i]} {table.shown(row[i])}".strip())
            for i in range(len(row))
            if i not in measured and row[i]
        ]
        lines += listed([text for i, text in said if i < first], width, "")
        lines += [f"  {table.columns[i]:{pad}}  {table.shown(row[i])}" for i in measured if row[i]]
        lines += [*listed([text for i, text in said if i >= first], width, "  "), ""]
    return lines


def listed(texts: Sequence[str], width: int, indent: str) -> list[str]:
    """List texts with commas; a line ends after one of them where it can."""
    joined = ", ".join(one if len(one) > width // 2 else one.replace(" ", GLUE) for one in texts)
    lines = textwrap.wrap(joined, width, initial_indent=indent, subsequent_indent=indent)
    return [line.replace(GLUE, " ") for line in lines]
