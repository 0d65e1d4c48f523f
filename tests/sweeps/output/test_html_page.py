"""The page as a file: nothing that a user names becomes markup, and nothing is fetched."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.output.html_page import Head, html_page
from sweeps.output.table import Estimate, Table

NASTY = st.sampled_from(
    ["</script>", "<!--<script>", "]]>", '"><img src=x onerror=alert(1)>', "'", "&lt;", "\u2028",
     "\\u003c", "</title>", "</style>", "{{x}}", "${x}", "\x00", "\ud7ff", "javascript:alert(1)"]
)  # fmt: skip
NAMES = st.lists(NASTY | st.text(max_size=20), max_size=3).map(lambda parts: "n" + "".join(parts))


class Tags(HTMLParser):
    """Collects the page's elements and the content of its data, style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[str]]] = []
        self.texts: dict[str, str] = {}
        self.last = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, sorted(name for name, _ in attrs)))
        self.last = dict(attrs).get("type") or tag

    def handle_endtag(self, tag: str) -> None:
        self.last = ""

    def handle_data(self, data: str) -> None:
        self.texts[self.last] = self.texts.get(self.last, "") + data


def page_of(name: str) -> str:
    table = Table(name, (name, "b"), ((name, Estimate(97.0, 0.1, 3)),), (name,))
    head = Head(name, name, name, (name, name), {name or "x": name or "x"}, name or "x")
    run = {"id": name, "params": {name: name}, "reason": name, "url": name}
    return html_page(head, [table], {name: b"png"}, {"runs": [run], "objectives": [name]})


@given(NAMES)
@settings(max_examples=200, deadline=None)
def test_no_name_breaks_out_of_its_place(name: str) -> None:
    plain, made = Tags(page_of("plain")), Tags(page_of(name))
    optional = {"p", "ul", "li"}
    assert [t for t in made.tags if t[0] not in optional] == [
        t for t in plain.tags if t[0] not in optional
    ]
    data: dict[str, Any] = json.loads(made.texts["application/json"])
    assert data["runs"][0]["params"] == {name: name} and data["objectives"] == [name]
    assert made.texts["module"] == plain.texts["module"]
    assert made.texts["style"] == plain.texts["style"]


def test_the_policy_allows_this_script_and_this_style_alone() -> None:
    page = page_of("plain")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and policy[1].startswith("default-src 'none'; ")
    texts = Tags(page).texts
    for directive, name in (("script-src", "module"), ("style-src", "style")):
        digest = base64.b64encode(hashlib.sha256(texts[name].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy[1]


def test_nothing_is_fetched() -> None:
    page = page_of("plain")
    addresses = set(re.findall(r"https?://[^\s\"'`)]+|url\(|@import", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of SVG, not an address
    assert " src=" not in page.replace(' src="data:image/png;base64,', "")


def test_tables_can_be_read_aloud() -> None:
    table = Table("Best", ("rank", "empty", "test"), (("1", None, Estimate(97.0, 0.1, 3)),))
    page = html_page(Head("x"), [table], {})
    assert '<th scope="col" class=number>test</th>' in page and '<th scope="row">1</th>' in page
    assert '<td class="number">97.00 ± 0.10 (3)</td>' in page and ">empty<" not in page
