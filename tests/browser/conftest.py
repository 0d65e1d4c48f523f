"""Fixtures: a headless Chromium, and a recorded sweep to look at."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from recorded_sweep import record_sweep

from sweeps.records.folder import SweepFolder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start Debian's Chromium."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on this machine; .ci/run installs Debian's")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        # Without its sandbox, which root cannot have; it opens pages of this machine alone.
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    return record_sweep(tmp_path_factory.mktemp("browsed"))
