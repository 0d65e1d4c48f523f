"""A server's error is shown with its number in whole words; `hcl` leaves nothing where it is."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from journals import write_journal

from hcl.config import ConfigError
from sweeps.launch.request import store_of
from sweeps.records.folder import SweepFolder
from sweeps.tracking import Store, deliver, prepare
from sweeps.tracking.database import check_store

WORDS = " ".join(f"word{number}" for number in range(100))


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """Serve one answer to every question."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, json.dumps({"error_code": "BAD_REQUEST", "message": WORDS})),
        (500, json.dumps({"error_code": "INTERNAL_ERROR", "message": WORDS})),
        (502, f"<html>{WORDS}</html>"),
        (429, WORDS),
        (404, "nothing here"),
    ],
)
def test_an_http_error_has_its_number_and_whole_words(status: int, body: str) -> None:
    with answering(status, body) as uri, pytest.raises(ConfigError) as error:
        check_store(Store(uri, None, "demo"))
    said = str(error.value)
    assert f"it answers {status}" in said and "\n" not in said
    assert set(re.findall(r"word\w*", said)) <= set(WORDS.split())


def test_a_database_of_ones_own_keeps_artifacts_in_the_storage_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    store = store_of(SweepFolder(tmp_path / "storage", "demo"), f"sqlite:///{tmp_path}/runs.db")
    prepare(store)
    assert deliver(store, write_journal(tmp_path), None)
    assert list(Path().iterdir()) == []
    assert list((tmp_path / "storage/artifacts/demo").rglob("accuracy.json"))
