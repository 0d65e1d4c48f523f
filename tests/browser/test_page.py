"""The page of a sweep in a real browser: by pointer, by keyboard, narrow, dark, printed."""

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded_sweep import NAME, TRIALS

from sweeps.output.html_page import Head, html_page, pack
from sweeps.records.entries import read_recorded
from sweeps.records.folder import SweepFolder
from sweeps.reports.page import page_data

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
AXE = "axe-core@4.14.1"
WIDTHS = (360, 768, 1600)


@pytest.fixture(scope="module")
def file(sweep: SweepFolder) -> Path:
    return sweep.path / "report.html"


@pytest.fixture
def page(browser: Any, file: Path) -> Iterator[Any]:
    """Open the page from disk; any error, warning or request fails the test."""
    opened, wrong = browser.new_page(viewport={"width": 1280, "height": 900}), []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: wrong.append(request.url))
    opened.set_default_timeout(120_000)
    opened.goto(file.as_uri())
    opened.locator(".tile").first.wait_for()
    yield opened
    opened.close()
    assert wrong == [file.as_uri()]  # one request: itself


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Get the script that finds what people with a screen reader cannot use."""
    if shutil.which("npm") is None:
        pytest.skip("no npm to get axe-core with")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run(["npm", "pack", AXE], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm cannot get {AXE}: {done.stderr[-200:]}")
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as files:
        script = files.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def test_a_matrix_answers_to_the_pointer_and_to_the_keyboard(page: Any) -> None:
    assert page.locator(".tile").count() == TRIALS
    face = page.locator("button.face").first
    box = face.bounding_box()
    face.hover(position={"x": box["width"] * 0.1, "y": box["height"] * 0.9})
    told = page.locator(".tip").inner_text()
    assert "trial 0 · seed 1" in told and "method/beta = 0.01" in told
    assert "after learning task 4, on task 0: 94.00 %" in told
    assert "4.00 points less than when it was learned" in told
    face.focus()
    for key in ("ArrowUp", "ArrowRight"):
        page.keyboard.press(key)
    spoken = page.locator("[aria-live]").inner_text()
    assert spoken.startswith("after learning task 3, on task 1: 96.00 %, 2.00 points less")


def test_two_matrices_are_subtracted(page: Any) -> None:
    for index in (1, 3):
        page.locator("button.face").nth(index).click()
    titles = page.locator("#difference h3").all_inner_texts()
    assert titles == ["A: trial 1 · seed 1", "B: trial 3 · seed 1", "A − B (%)"]  # noqa: RUF001
    cells = page.locator("#difference figure").nth(2).locator("td.cell").all_inner_texts()
    assert {cell for cell in cells if cell} == {"+4.0"}


def test_charts_tables_and_links_are_there(page: Any, sweep: SweepFolder) -> None:
    titles = page.locator("#charts h3").all_inner_texts()
    assert titles == ["While it learns", "The search", "Pareto front"]
    assert page.locator("#charts circle.dot").count() >= 3 * TRIALS
    rows = page.locator("#runs tbody tr")
    assert rows.count() == TRIALS
    link = rows.first.locator("a").get_attribute("href")
    assert link.startswith("http://127.0.0.1:5000/#/experiments/")
    again = rows.first.locator("button").get_attribute("title")
    path = f"{sweep.storage.name}/sweeps/{NAME}/trials/0000/seed_1/result.json"
    assert again == f"hcl run {path} --name again"
    page.locator("#matrices select").nth(1).select_option("mean")
    assert page.locator(".tile").count() == TRIALS


def test_scores_within_tasks_are_a_line_for_each_task(
    browser: Any, sweep: SweepFolder, tmp_path: Path, axe: str
) -> None:
    data = page_data(read_recorded([sweep]), {})
    lines = [[9000, 5000, 8000, 8500], [None, None, 6000, 9000]]
    one = {"steps": [50, 100, 150, 200], "lines": lines}
    data["within"] = pack([one, {**one, "steps": [1, 2, 3, 4]}, *[None] * (TRIALS - 2)])
    (tmp_path / "page.html").write_text(html_page(Head("within"), [], {}, data))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((tmp_path / "page.html").as_uri())
    figure = page.locator("#charts .charts > div", has_text="Within tasks")
    figure.wait_for()
    assert figure.locator("path.line").count() == 2 and figure.locator("circle.dot").count() == 6
    figure.locator("circle.dot").nth(1).hover()
    assert page.locator(".tip").inner_text() == "task 0, step 100: 50.00 %"
    figure.locator("select").select_option(label="trial 1 · seed 1")
    assert "4" in figure.locator("text").all_text_contents()
    page.evaluate(axe)
    found = page.evaluate("axe.run()")["violations"]
    assert not [v["id"] for v in found if v["impact"] in ("serious", "critical")]
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_width_in_both_schemes_is_accessible(page: Any, axe: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.evaluate(axe)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = page.evaluate("axe.run()")["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert not serious, [(v["id"], v["nodes"][0]["html"][:200]) for v in serious]


def test_paper_gets_light_colours_and_no_buttons(page: Any) -> None:
    page.emulate_media(color_scheme="dark", media="print")
    assert (
        not page.locator(".theme").is_visible()
        and not page.locator(".controls").first.is_visible()
    )
    assert page.pdf()[:5] == b"%PDF-"


def test_markup_in_a_name_is_shown_as_text(
    browser: Any, sweep: SweepFolder, tmp_path: Path
) -> None:
    evil = '<img src=x onerror="document.title=1"></script><script>document.title=2</script>'
    data = page_data(read_recorded([sweep]), {})
    data["runs"][0] |= {"method": evil, "reason": evil, "params": {evil: evil}}
    (tmp_path / "page.html").write_text(html_page(Head(evil), [], {}, data))
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.locator("#runs", has_text=evil).wait_for()
    page.locator("button.face").first.hover()
    assert page.title() == evil and page.locator("img").count() == 0
    page.close()
