"""A real MLflow on sqlite, made ready once for all tests."""

from pathlib import Path

import pytest

from sweeps.tracking import Store, local_store, prepare


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("storage")
    prepare(local_store(folder, "prepared"))
    return folder


@pytest.fixture
def store(storage: Path, request: pytest.FixtureRequest) -> Store:
    """An experiment of the test's own in the session's database."""
    store = local_store(storage, request.node.name[:80])
    prepare(store)
    return store
