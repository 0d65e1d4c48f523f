"""Security: nothing listens beyond this machine, no data are run, no password is shown.

tests/deploy has the tests of the cluster files, test_cli.py that of `hcl ui`.
"""

import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from hcl.storage import checkpoint
from sweeps.records.redact import redact
from sweeps.space import yaml_file

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:pw@host:5/x", "http://***@host:5/x"),
        ("postgresql+psycopg2://me:p%40/w@host/x", "postgresql+psycopg2://***@host/x"),
        ("http//me:pw@host", "http//***@host"),
        ("hcl sync --tracking-uri=me:pw@host", "hcl sync --tracking-uri=***@host"),
        ("postgresql://host/x?user=me&password=pw", "postgresql://host/x?user=me&password=***"),
        (
            "see http://host/x at 12:30, or mail a@b.org",
            "see http://host/x at 12:30, or mail a@b.org",
        ),
    ],
)
def test_credentials_are_redacted(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_pickle_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "7.pt").write_bytes(pickle.dumps(Touch(tmp_path / "pwned")))
    torch.save({"state": Touch(tmp_path / "pwned")}, tmp_path / "8.pt")
    with pytest.warns(UserWarning, match="skipping unreadable checkpoint"):
        assert checkpoint.load_latest(tmp_path) is None
    assert not (tmp_path / "pwned").exists()


class Touch:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_nothing_reads_code_as_data() -> None:
    """The sources use no pickle, no unsafe YAML, no numpy objects."""
    sources = {
        path: path.read_text()
        for name in ("hcl", "sweeps")
        for path in (ROOT / name).rglob("*.py")
    }
    unsafe = (
        r"yaml\.(load|load_all|unsafe_load|full_load)\(|(?<![.\w])(eval|exec)\(|shell=True"
        r"|\b(import|from) (pickle|cloudpickle|dill|joblib|marshal|shelve)\b"
    )
    loads = {"torch": 0, "np": 0}
    # The driver packs the plan of its own trials, and Ray carries it as it does every function.
    packs, lines = ROOT / "sweeps/workers/ray_function.py", "from ray import cloudpickle, tune\n"
    assert sources[packs].count(lines) == 1
    sources[packs] = sources[packs].replace(lines, "")
    for path, text in sources.items():
        assert not re.search(unsafe, text), path
        for call in re.findall(r"torch\.load\(.*", text):
            loads["torch"] += 1
            assert "weights_only=True" in call, path
        for call in re.findall(r"np\.load\(.*", text):
            loads["np"] += 1
            assert "allow_pickle=False" in call, path
    assert loads["torch"] == 1 and loads["np"] >= 2
    assert issubclass(yaml_file._Loader, yaml.SafeLoader)


# This is a program: Ray in the tests' own process may have been started in another way.
LOCAL_RAY = """
import os, re
from pathlib import Path

from sweeps.cluster.connection import started
import ray

here = started(None)
here.__enter__()

session = Path(ray._private.worker._global_node.get_session_dir_path()).name
listening = {}
for table in ("tcp", "tcp6"):
    for line in Path("/proc/net", table).read_text().splitlines()[1:]:
        _, local, _, state, *_, = line.split()
        if state == "0A":
            listening[line.split()[9]] = local.rpartition(":")[0]
found = set()
for process in Path("/proc").glob("[0-9]*"):
    try:
        text = (process / "cmdline").read_text() + (process / "environ").read_text()
        if session not in text and int(process.name) != os.getpid():
            continue
        for file in (process / "fd").iterdir():
            inode = re.match(r"socket:\\[(\\d+)\\]", os.readlink(file))
            if inode and inode.group(1) in listening:
                found.add(listening[inode.group(1)])
    except OSError:
        continue
ray.shutdown()
print(*sorted(found))
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_local_ray_listens_on_loopback_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOCAL_RAY], cwd=ROOT, capture_output=True, text=True
    )
    addresses = done.stdout.split()
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    assert addresses and set(addresses) <= loopback, done.stdout + done.stderr
