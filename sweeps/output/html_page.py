"""A self-contained HTML page of tables, figures and runs, which fetches nothing.

Its style and its script are the files in `page/`. Nothing that a user names gets in as markup:
texts are escaped, and the page's policy lets no other script run than this one.
"""

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from sweeps.output.table import Entry, Estimate, Table

SCRIPTS = (
    "base",
    "runs",
    "matrices",
    "difference",
    "axes",
    "charts",
    "within",
    "main",
)  # in this order
# Words that begin a badge of ours against the paper's number -> its class.
BADGES = {"agrees": "agrees", "below": "below", "above": "above", "missing": "missing",
          "too few": "missing", "not comparable": "missing"}  # fmt: skip
# Sections that the script fills: id -> its heading, and what a reader can do there.
SECTIONS = {
    "matrices": (
        "Accuracy matrices",
        "Rows: after learning each task; columns: accuracy on each task. Best first. Point at a"
        " cell, or walk with the arrow keys; press two matrices to subtract them below.",
    ),
    "difference": (
        "Difference of two",
        "A minus B, cell by cell: blue where A is better, red where B is.",
    ),
    "charts": ("Learning and search", "Point at a mark to see its configuration everywhere."),
    "runs": (
        "All runs",
        "Each number with the run that it comes from, the commit of the code, and the command that"
        " trains it again.",
    ),
}


@dataclass(frozen=True)
class Head:
    """The top of a page.

    Attributes:
        title: of the page.
        kind: what it is of, e.g. "sweep".
        lead: its question, in one sentence.
        answer: the main number, and what it is.
        facts: name -> value, e.g. of the commit.
        command: the command behind every number.
    """

    title: str
    kind: str = ""
    lead: str = ""
    answer: tuple[str, str] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


def html_page(
    head: Head,
    tables: Sequence[Table],
    pictures: Mapping[str, bytes],
    data: Mapping[str, Any] | None = None,
) -> str:
    """Write one file that can be sent around.

    Args:
        head: top of the page.
        tables: in the order of the page.
        pictures: name -> content of a PNG file.
        data: runs for the script, from `sweeps.reports.page`.
    """
    folder = files("sweeps.output") / "page"
    style = (folder / "page.css").read_text()
    script = "\n".join((folder / f"{name}.js").read_text() for name in SCRIPTS)
    main = _main(tables, pictures, has_runs=bool(data))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script, style)}">'
        f"<title>{html.escape(head.title)}</title><style>{style}</style></head>\n<body>"
        f"{_header(head)}\n<main>{main}</main>"
        f"<footer><p>Written by hcl.</p></footer>"
        f'<script type="application/json" id="data">{_json(data or EMPTY)}</script>'
        f'<script type="module">{script}</script></body></html>\n'
    )


def _main(tables: Sequence[Table], pictures: Mapping[str, bytes], has_runs: bool) -> str:
    """Write the sections: the first table, which has the answer, before all that explains it."""
    written = [*map(_table, tables)]
    drawn = [*map(_picture, pictures.items())]
    if not has_runs:
        return "".join([*written, *drawn])
    *figures, runs = [_section(key, *words) for key, words in SECTIONS.items()]
    bar = '<div class="bar" role="group" aria-label="Filters" data-needs-script hidden></div>'
    without = "<noscript><p>Matrices and charts need JavaScript; the tables do not.</p></noscript>"
    return "".join([*written[:1], bar, without, *figures, *drawn, *written[1:], runs])


EMPTY = {"runs": [], "objectives": [""], "modes": [""], "searched": [], "fraction": True}


def pack(value: Any) -> str:
    """Compress a value for the script: base64 of deflated JSON."""
    text = json.dumps(value, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _policy(script: str, style: str) -> str:
    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    rules = f"script-src {digest(script)}; style-src {digest(style)}; img-src data:"
    return f"default-src 'none'; {rules}; base-uri 'none'; form-action 'none'"


def _json(data: Mapping[str, Any]) -> str:
    """Write JSON that no text in it can end or turn into markup."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII alone
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _header(head: Head) -> str:
    facts = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in head.facts.items()
        if value
    )
    parts = [
        '<button class="theme" type="button" hidden></button>',
        f'<div class="kind">{html.escape(head.kind)}</div>' if head.kind else "",
        f"<h1>{html.escape(head.title)}</h1>",
        f'<p class="lead">{html.escape(head.lead)}</p>' if head.lead else "",
        _answer(*head.answer) if head.answer else "",
        f'<dl class="facts">{facts}</dl>' if facts else "",
    ]
    if head.command:
        parts.append(f'<div class="command"><pre>{html.escape(head.command)}</pre></div>')
    return f"<header>{''.join(parts)}</header>"


def _answer(number: str, meaning: str) -> str:
    return (
        f'<div class="answer"><strong>{html.escape(number)}</strong>'
        f"<span>{html.escape(meaning)}</span></div>"
    )


def _section(key: str, title: str, about: str) -> str:
    return (
        f'<section id="{key}" data-needs-script hidden aria-labelledby="{key}-title">'
        f'<h2 id="{key}-title">{title}</h2><p>{about}</p><div class="body"></div></section>'
    )


def _picture(named: tuple[str, bytes]) -> str:
    name, png = html.escape(named[0]), base64.b64encode(named[1]).decode()
    image = f'<img src="data:image/png;base64,{png}" alt="Figure: {name}">'
    return f"<section><h2>{name}</h2>{image}</section>"


def _table(table: Table) -> str:
    used = [i for i in range(len(table.columns)) if any(row[i] for row in table.rows)]
    measured = {i for i in used if any(isinstance(row[i], Estimate) for row in table.rows)}
    head = "".join(
        f'<th scope="col"{" class=number" * (i in measured)}>{html.escape(table.columns[i])}</th>'
        for i in used
    )
    body = "".join(
        _row([(row[i], i in measured) for i in used], table.repeats(number))
        for number, row in enumerate(table.rows)
    )
    title = html.escape(table.title)
    return (
        f"<section{' class=uncompared' * bool(table.banner)}><h2>{title}</h2>{_banner(table)}"
        '<div class="scroll" tabindex="0" role="region"'
        f' aria-label="{title}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"</div>{_notes((*table.notes, *table.origin))}</section>"
    )


def _banner(table: Table) -> str:
    return f'<p class="banner">{html.escape(table.banner)}</p>' if table.banner else ""


def _notes(notes: Iterable[str]) -> str:
    lines = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{lines}</ul>' if lines else ""


def _row(entries: Sequence[tuple[Entry, bool]], repeats: bool) -> str:
    (first, _), *others = entries
    cells = "".join(_entry(entry, is_measured) for entry, is_measured in others)
    label = html.escape(Table.shown(first))
    label = f'<span class="hidden">{label}</span>' if repeats else label
    kind = ' class="paper"' if others and others[0][0] == "paper" else ""
    return f'<tr{kind}><th scope="row">{label}</th>{cells}</tr>'


def _entry(entry: Entry, is_measured: bool) -> str:
    text = html.escape(Table.shown(entry))
    badge = next((BADGES[word] for word in BADGES if text.startswith(word)), "")
    if badge and not isinstance(entry, Estimate):
        text = f'<span class="badge {badge}">{text}</span>'
    return f'<td class="{"number" * (is_measured or "±" in text)}">{text}</td>'
