"""Every line of docs/python.md runs, in order."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
SLOW = "## Sweep and compare"  # from here on Ray is needed


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run(text: str) -> None:
    names: dict[str, object] = {}
    for block in blocks(text):
        exec(compile(block, "docs/python.md", "exec"), names)


@pytest.mark.timeout(120)
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(PAGE.read_text().partition(SLOW)[0])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_its_sweep_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, _, rest = PAGE.read_text().partition(SLOW)
    settings = blocks(first)[0].partition("print")[0]
    run(f"```python\n{settings}```\n{rest}")
