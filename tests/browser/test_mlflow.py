"""What a person sees who opens the links that `hcl ui` prints, in a fresh browser profile."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from recorded_sweep import NAME, SPACE, TRIALS

from sweeps.records.folder import SweepFolder

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
HEADINGS = """names => [...new Set([...document.querySelectorAll("[role=columnheader]")]
  .map((heading) => [heading.getBoundingClientRect().x, heading.innerText.trim()])
  .filter(([, name]) => names.includes(name)).sort(([a], [b]) => a - b)
  .map(([, name]) => name))]"""
PATIENCE = 200_000  # milliseconds for MLflow's page


@pytest.fixture(scope="module")
def links(sweep: SweepFolder) -> Iterator[list[str]]:
    """Start `hcl ui NAME` and take the links that it prints, the ranking and the matrices."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "sweeps.cli", "ui", NAME, "--port", str(port)]
    ui = subprocess.Popen(
        [*command, "--storage", str(sweep.storage)], stdout=subprocess.PIPE, text=True
    )
    assert ui.stdout is not None
    lines = [ui.stdout.readline() for _ in range(3)]
    try:
        yield [found for line in lines[1:] for found in re.findall(r"http://\S+", line)]
    finally:
        ui.terminate()  # a test run in the background would hand down that SIGINT is ignored
        said, status = ui.communicate(timeout=60)[0], ui.returncode
    assert (said, status) == ("", 0)  # no access log


def open_page(browser: Any, height: int) -> Any:
    page = browser.new_page(viewport={"width": 2600, "height": height})
    page.set_default_timeout(PATIENCE)
    return page


def shown(page: Any, link: str, text: str) -> str:
    page.goto(link)
    page.get_by_text(text).first.wait_for()
    return page.inner_text("body")


def test_the_link_opens_a_table_with_method_scenario_and_accuracies(
    browser: Any, links: list[str]
) -> None:
    page = open_page(browser, height=900)
    text = shown(page, links[0], "HNET · split_digits · trial 5 · seed 1")
    expected = ["method/name", "scenario", "val/task/average_accuracy",
                "test/task/average_accuracy", "method/beta"]  # fmt: skip
    # From left to right: the grid keeps its elements in another order.
    in_order = f"names => JSON.stringify(({HEADINGS})(names)) === JSON.stringify(names)"
    page.wait_for_function(in_order, arg=expected)
    row = page.locator("[role=row]", has=page.get_by_text("hnet", exact=True)).first.inner_text()
    assert "task" in row and "0.95999" in row
    assert text.index("trial 0") < text.index("trial 5")  # the best comes first
    assert f"{TRIALS} matching runs" in text and "Traces 0" not in text
    page.close()


def test_the_view_matrices_shows_the_pictures_of_six_runs(browser: Any, links: list[str]) -> None:
    page = open_page(browser, height=2400)
    shown(page, links[1], "Accuracy matrices")
    pictures = page.locator("img[src*='get-artifact'], img[src^='blob:']")
    pictures.nth(TRIALS - 1).wait_for()
    loaded = "images => images.filter(i => i.complete && i.naturalWidth >= 100).length"
    page.wait_for_function(f"() => ({loaded})([...document.images]) >= {TRIALS}")
    text = page.inner_text("body")
    assert all(f"HNET · split_digits · trial {n} · seed 1" in text for n in range(TRIALS))
    page.close()


def test_the_sweeps_own_run_says_what_came_out(
    browser: Any, links: list[str], sweep: SweepFolder
) -> None:
    page = open_page(browser, height=1600)
    experiment = re.match(r"(.*/experiments/\d+)/", links[0])
    assert experiment is not None
    run = f"{experiment[1]}/runs/{sweep.read_info()['parent_run_id']}"
    text = shown(page, f"{run}?workflowType=machine_learning", SPACE["description"])
    assert f"of {TRIALS} configurations" in text and f"hcl sweep {NAME}.yaml" in text
    page.get_by_text("test/task/average_accuracy", exact=True).first.wait_for()
    page.close()
