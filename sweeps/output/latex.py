r"""Tables for a paper in LaTeX.

A table is as wide as the line at most, whatever it holds; its command and commit are comments.
"""

import re

from sweeps.output.table import Entry, Table

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}
_SPECIAL |= {"±": r"$\pm$", "β": r"$\beta$", "λ": r"$\lambda$", "†": r"\textdagger{}"}
_SPECIAL |= {"≥": r"$\geq$", "≤": r"$\leq$", "×": r"$\times$", "<": r"$<$", ">": r"$>$"}


def as_latex(table: Table) -> str:
    r"""Write a `table`; its document needs `\usepackage{booktabs, graphicx}`."""
    columns = range(len(table.columns))
    aligned = "".join("r" if table.is_measured(i) else "l" for i in columns)
    body = []
    for i, row in enumerate(table.rows):
        entries = [_entry(entry, (i, j) in table.bold) for j, entry in enumerate(row)]
        entries[0] = "" if table.repeats(i) else entries[0]
        body.append(f"      {' & '.join(entries)} \\\\")
    banner = rf" \textbf{{{escape(table.banner)}}}" if table.banner else ""
    notes = r" \\ ".join(map(escape, table.notes))
    return "\n".join(
        [
            *(f"% {line}" for line in ("needs booktabs and graphicx", *table.origin)),
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{escape(table.title)}.{banner}}}",
            rf"  \label{{tab:{_slug(table.title)}}}",
            r"  \resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%",
            rf"    \begin{{tabular}}{{{aligned}}}",
            r"      \toprule",
            f"      {' & '.join(map(escape, table.columns))} \\\\",
            r"      \midrule",
            *body,
            r"      \bottomrule",
            r"    \end{tabular}}",
            *([rf"  \par\medskip\parbox{{\linewidth}}{{\footnotesize\raggedright {notes}}}"]
              if notes else []),
            r"\end{table}",
            "",
        ]
    )  # fmt: skip


def escape(text: str) -> str:
    """Write a text so that LaTeX sets it as it is."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _entry(entry: Entry, is_bold: bool) -> str:
    text = "--" if entry is None else escape(str(entry))
    return rf"\textbf{{\boldmath {text}}}" if is_bold else text


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
