"""Hooks of the documentation's build: pages from outside `docs`, and formulas.

Links in these pages are those of the repository. What they name outside `docs` becomes part of the
site at the same place, so that every link works in both.
"""

import re
from html import escape
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.path import Path as Curve
from matplotlib.textpath import TextPath
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = (
    "CONTRIBUTING.md", "CHANGELOG.md", "examples/bring_your_own/README.md",
    "search_spaces/README.md", "trials/README.md",
)  # fmt: skip
PENS = {Curve.MOVETO: "M", Curve.LINETO: "L", Curve.CURVE3: "Q", Curve.CURVE4: "C"}
LINK = re.compile(r"(?<=\]\()([\w./-]+)(?=[#)])")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside `docs`, and the files there that any page links to."""
    pages = [file.src_uri for file in files if file.is_documentation_page()]
    texts = {f"docs/{page}": (ROOT / "docs" / page).read_text() for page in pages}
    texts |= {page: (ROOT / page).read_text() for page in PAGES}
    named = {target for page, text in texts.items() for target in _targets(page, text)}
    for name in sorted({*PAGES, *named}):
        if files.get_file_from_path(_place(name)) is None and (ROOT / name).is_file():
            content = (ROOT / name).read_bytes()
            files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the repository's links into the site's, and LaTeX into MathML."""
    uri = page.file.src_uri
    own = uri if uri in PAGES else f"docs/{uri}"

    def relink(found: re.Match[str]) -> str:
        target = _resolve(own, found[1])
        up = "../" * uri.count("/")
        return up + _place(target) if (ROOT / target).exists() else found[1]

    markdown = re.sub(r"^```math\n(.*?)^```$", _display, markdown, flags=re.MULTILINE | re.DOTALL)
    markdown = re.sub(
        r"^```mermaid\n(.*?)^```$", _layers, markdown, flags=re.MULTILINE | re.DOTALL
    )
    markdown = re.sub(r"\$`(.+?)`\$", lambda found: _formula(found[1]), markdown)
    return LINK.sub(relink, markdown)


def _display(found: re.Match[str]) -> str:
    return f'<div class="formula">{_formula(found[1])}</div>'


def _formula(latex: str) -> str:
    """Draw LaTeX as a picture in the text's colour: no browser needs a font or a script for it."""
    latex = " ".join(latex.split())
    # matplotlib sets operators apart, in exponents too: \! takes the space away.
    tight = re.sub(r"\^(\*|\\top)", r"^{\1}", latex)
    tight = tight.replace("*", r"\!\ast\!").replace(r"\top", r"\!\top\!")
    with rc_context({"mathtext.fontset": "stix"}):
        path = TextPath((0, 0), f"${tight}$", size=100)
    box = path.get_extents()
    drawn = "".join(
        PENS[code] + " ".join(f"{x:.0f} {-y:.0f}" for x, y in points.reshape(-1, 2))
        for points, code in path.iter_segments(curves=True, simplify=False)
        if code in PENS
    )
    size = f"width:{box.width / 85:.2f}em;vertical-align:{box.y0 / 85:.2f}em"
    view = f"{box.x0:.0f} {-box.y1:.0f} {box.width:.0f} {box.height:.0f}"
    return (
        f'<span class="latex"><svg role="img" aria-label="{escape(latex)}" viewBox="{view}"'
        f' style="{size}"><path fill="currentColor" d="{drawn}"/></svg></span>'
    )


def _layers(found: re.Match[str]) -> str:
    """Draw CONTRIBUTING's diagram as columns of boxes: no script from a network is needed."""
    columns = re.findall(r"^  subgraph (\w+)\n(.*?)^  end$", found[1], re.MULTILINE | re.DOTALL)
    drawn = [
        f"<div><strong>{name}</strong>"
        + "".join(f"<span>{label}</span>" for label in re.findall(r'\["(.*?)"\]', content))
        + "</div>"
        for name, content in columns
    ]
    return f'<div class="layers">{"".join(drawn)}</div>'


def _targets(page: str, text: str) -> list[str]:
    return [_resolve(page, link) for link in LINK.findall(text)]


def _resolve(page: str, link: str) -> str:
    """Find the path in the repository that a page's link names."""
    parts: list[str] = list(Path(page).parent.parts)
    for part in link.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _place(name: str) -> str:
    """Say where a file of the repository is in the site."""
    return name.removeprefix("docs/")
