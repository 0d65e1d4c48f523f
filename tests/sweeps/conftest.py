"""Fixtures: a real MLflow on sqlite, made once; a whole sweep to compare others with."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server
from whole_sweeps import GOOD, NAME, check_whole, finish, start, text_of

from sweeps.tracking import Store, local_store, prepare


@pytest.fixture(scope="session", autouse=True)
def thawed() -> Iterator[None]:
    """Free at pytest's end what drivers exempted from collection; triton complains otherwise."""
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("storage")
    prepare(local_store(folder, "prepared"))
    return folder


@pytest.fixture
def store(storage: Path, request: pytest.FixtureRequest) -> Store:
    """Make an experiment for one test in the session's database."""
    store = local_store(storage, request.node.name[:80])
    prepare(store)
    return store


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Start a real MLflow server on a database of its own."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the search space of `undisturbed`, to sweep with disturbances."""
    folder = tmp_path_factory.mktemp("files")
    (folder / f"{NAME}.yaml").write_text(text_of([GOOD] * 4, iterations=800))
    return folder


@pytest.fixture(scope="session")
def undisturbed(files: Path) -> Path:
    """Run a sweep of four trials that nothing disturbs; return its storage."""
    storage = files / "undisturbed"
    finish(start(files, storage))
    check_whole(storage)
    return storage
