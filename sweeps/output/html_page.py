"""A self-contained HTML page of tables and figures, which fetches and runs nothing."""

import base64
import html
from collections.abc import Mapping, Sequence

from sweeps.output.table import Table

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .7rem; text-align: left }
td.number { text-align: right; white-space: nowrap }
tr:has(td.below) { background: #fdecea } tr:has(td.above) { background: #e8f4fd }
tr:has(td.missing) { color: #888 }
ul { color: #555 } img { max-width: 100% }
"""
VERDICTS = ("matches", "below", "above", "missing", "unknown")


def html_page(title: str, tables: Sequence[Table], pictures: Mapping[str, bytes]) -> str:
    """Write one file that can be sent around.

    Args:
        title: of the page.
        tables: in the order of the page.
        pictures: name -> content of a PNG file, below the tables.
    """
    parts = [_table(table) for table in tables]
    for name, png in pictures.items():
        data = base64.b64encode(png).decode()
        parts.append(f'<h2>{html.escape(name)}</h2><img src="data:image/png;base64,{data}">')
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style><body>"
        f"<h1>{html.escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    body = "".join(
        "<tr>" + "".join(_entry("-" if entry is None else str(entry)) for entry in row) + "</tr>"
        for row in table.rows
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return (
        f"<h2>{html.escape(table.title)}</h2><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table><ul>{notes}</ul>"
    )


def _entry(text: str) -> str:
    kind = "number" if "±" in text else text if text in VERDICTS else ""
    return f"<td{f' class={kind}' if kind else ''}>{html.escape(text)}</td>"
