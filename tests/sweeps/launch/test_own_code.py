"""A user's own method and network through a sweep on the two nodes of a real Ray cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nodes import running_cluster
from own_code import METHOD, SPACE, write

from hcl.config import plugins
from sweeps.launch.request import store_of
from sweeps.records.folder import SweepFolder
from sweeps.space.search_space import load
from sweeps.tracking import runs_frame

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]
PROCESS = """
import {module}, os

with open({marks!r}, "a") as file:
    file.write(f"{{os.getppid()}} {{{module}.__file__}}\\n")
"""

# As on a node that has the project's dependencies alone: what Ray brings is found, nothing else.
BARE = """
import os, sys

sys.path[:] = [
    path for path in sys.path
    if "working_dir_files" in path or not os.path.exists(os.path.join(path, "hcl/__init__.py"))
]
"""
DATA = """
import numpy as np


def load():
    draws, found = np.random.RandomState(0), {}
    for split in ("train", "val", "test"):
        t, y = np.repeat([0, 1], 12), np.arange(24) % 3
        x = draws.randn(24, 5) + y[:, None]
        found |= {f"x_{split}": x, f"t_{split}": t, f"y_{split}": y}
    return found
"""


def hcl(folder: Path, *words: str, status: int = 0, **env: str) -> str:
    """Run a command in a folder; return what it printed."""
    command = [sys.executable, "-m", "sweeps.cli", *words]
    environment = os.environ | {"HCL_STORAGE": str(folder / "storage")} | env
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_workers_on_two_nodes_import_the_code_that_the_sweep_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, elsewhere, marks = tmp_path / "mine", tmp_path / "elsewhere", tmp_path / "marks"
    write(mine)
    (mine / "mine.py").write_text(METHOD + PROCESS.format(module="nets", marks=str(marks)))
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # of the nodes
    with running_cluster() as cluster:
        said = hcl(elsewhere, "sweep", str(mine / "space.yaml"), "--address", cluster.address,
                   **cluster.environment)  # fmt: skip
    assert "2 of 2 trials ended" in said
    folder = SweepFolder(elsewhere / "storage", "space")
    (kept,) = folder.kept_code()
    driver, *workers = [line.split() for line in marks.read_text().splitlines()]
    assert driver[1] == str(mine / "nets.py")
    assert {file for _, file in workers} == {str(kept / "nets.py")}
    assert len({raylet for raylet, _ in workers}) == 2, "one worker on each node"

    with plugins.importable(mine):
        code = plugins.digest(["mine:Shrinking", "nets:small"])
        changed = load(mine / "space.yaml").digests()
    assert kept.name == code and any(code == digest for digest in changed.values())
    results = [json.loads(path.read_text()) for path in folder.path.rglob("result.json")]
    assert [result["config"]["code"] for result in results] == [code, code]
    frame = runs_frame(store_of(folder, None), "space")
    assert set(frame["code"]) == {code} and set(frame["tags.label_task"]) == {"Shrinking"}

    # Its author goes on working: what was searched stays what it was.
    (mine / "mine.py").write_text(METHOD.replace("strength)", "strength / 2)"))
    refused = hcl(elsewhere, "sweep", str(mine / "space.yaml"), "--num-trials", "3", status=2)
    assert "started with another code of mine:Shrinking, nets:small, so its trials" in refused
    assert "1 trainings, 0 are there" in hcl(
        elsewhere, "confirm", "space", "--seeds", "11", "--dry-run"
    )
    hcl(elsewhere, "confirm", "space", "--seeds", "11")
    assert "Shrinking" in hcl(elsewhere, "report", "space")
    confirmed = folder.path.glob("trials/*/seed_11/result.json")
    assert [json.loads(path.read_text())["config"]["code"] for path in confirmed] == [code]


def test_single_trainings_tell_versions_of_the_code_apart(tmp_path: Path) -> None:
    """The file of settings is elsewhere, so the code is named with --plugin."""
    write(tmp_path / "mine")
    (tmp_path / "trial.yaml").write_text(
        SPACE.split("search:")[0].replace("trial:\n", "").replace("\n  ", "\n")
    )
    command = ("run", "trial.yaml", "--plugin", "mine/mine.py")
    assert "there is no module mine in" in hcl(tmp_path, *command[:2], status=2)
    assert "--plugin mine/mein.py: there is no" in hcl(
        tmp_path, *command[:3], "mine/mein.py", status=2
    )
    for text in (METHOD, METHOD, METHOD.replace("strength)", "strength / 2)")):
        (tmp_path / "mine/mine.py").write_text(text)
        hcl(tmp_path, *command)
    folder = SweepFolder(tmp_path / "storage", "single")
    results = [json.loads(path.read_text()) for path in folder.path.rglob("result.json")]
    codes = {result["config"]["code"] for result in results}
    assert len(results) == 2 and {place.name for place in folder.kept_code()} == codes


def test_nodes_without_the_project_train_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head and two nodes; the method, the network and the data are the user's own."""
    mine, bare = write(tmp_path / "mine"), tmp_path / "bare"
    (mine / "table.py").write_text(DATA)
    own = "{sequence: given, data: 'table:load', num_tasks: 2}"
    lines = SPACE.replace("{name: split_digits, num_tasks: 2, val_fraction: 0.2}", own)
    (mine / "space.yaml").write_text(lines.replace("num_trials: 2", "num_trials: 4"))
    bare.mkdir()
    (bare / "sitecustomize.py").write_text(BARE)
    places = [tmp_path / "here", tmp_path / "there"]
    for place in places:
        place.mkdir()
    hcl(places[0], "sweep", str(mine / "space.yaml"))

    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", str(bare))
    monkeypatch.chdir(bare)  # of the nodes
    alone = [sys.executable, "-c", "import hcl"]
    assert b"No module named 'hcl'" in subprocess.run(alone, capture_output=True).stderr
    with running_cluster() as cluster:
        said = hcl(places[1], "sweep", str(mine / "space.yaml"),
                   "--ship-code", "--address", cluster.address,
                   PYTHONPATH=known, **cluster.environment)  # fmt: skip
    assert "4 of 4 trials ended" in said
    found = [
        {
            str(path.relative_to(place)): json.loads(path.read_text())["accuracy"]
            for path in place.rglob("result.json")
        }
        for place in places
    ]
    assert len(found[0]) == 4 and found[0] == found[1]
