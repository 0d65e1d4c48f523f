"""Situations for `test_bad_input.py`: folders with what a user may have there."""

import fcntl
import json
import os
import socket
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcl.benchmarks.mnist import FILES
from hcl.config import TrialConfig
from hcl.results import Result
from sweeps.records.folder import SweepFolder
from sweeps.space.search_space import parse
from sweeps.space.yaml_file import parse_yaml
from sweeps.workers.seed_records import single_seed

SPACE = """
trial:
  benchmark: {name: split_digits, num_tasks: 2, val_fraction: 0.2}
  target: {hidden_sizes: [8]}
  method: {name: hnet, hidden_sizes: [4]}
  train: {iterations: 3, batch_size: 8}
search:
  method/beta: {type: float, low: 0.001, high: 1.0, log: true}
sweep: {num_trials: 2}
"""
TRIAL = """
benchmark: {name: split_digits, num_tasks: 2, val_fraction: 0.2}
target: {hidden_sizes: [8]}
method: {name: finetune}
train: {iterations: 3, batch_size: 8}
"""
LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
PASSWORD = "s3cret"

Make = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """A mistake: a command line, words of its message, the maker of its folder, its lines."""

    command: str
    message: str
    make: Make | None = None
    lines: int = 1


def trial_config(**changes: Any) -> TrialConfig:
    return TrialConfig.from_dict({**parse_yaml(TRIAL), **changes})


# --- files -------------------------------------------------------------------------------------


def file(content: str | bytes, name: str = "bad.yaml") -> Make:
    data = content.encode() if isinstance(content, str) else content

    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    return make


def space(old: str, new: str) -> Make:
    """Write bad.yaml: the valid search space with a part replaced."""
    assert old in SPACE
    return file(SPACE.replace(old, new))


def trial(old: str, new: str, name: str = "bad.yaml") -> Make:
    """Write bad.yaml: the valid trial with a part replaced."""
    assert old in TRIAL
    return file(TRIAL.replace(old, new), name)


def both(*steps: Make) -> Make:
    """Make one situation after the other."""

    def make(folder: Path) -> None:
        for step in steps:
            step(folder)

    return make


def empty_folder(folder: Path) -> None:
    (folder / "empty").mkdir()


def no_hypernet(folder: Path) -> None:
    text = SPACE.replace("name: hnet, hidden_sizes: [4]", "name: finetune")
    text = text.replace("method/beta", "train/lr").replace(
        "num_trials: 2", "max_compression_ratio: 1"
    )
    file(text)(folder)


def link_to_itself(folder: Path) -> None:
    (folder / "bad.yaml").symlink_to(folder / "bad.yaml")


def loop(folder: Path) -> None:
    (folder / "loop").symlink_to(folder / "pool")
    (folder / "pool").symlink_to(folder / "loop")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "bad.yaml")


# --- data --------------------------------------------------------------------------------------


def official(content: bytes, ending: str = "") -> Make:
    """Write all four of MNIST's files, with something else in them."""
    return both(*(file(content, f"data/MNIST/raw/{name}{ending}") for name, *_ in FILES.values()))


def linked_database(folder: Path) -> None:
    """one.db: an empty database; link.db: another name for it."""
    (folder / "one.db").touch()
    (folder / "link.db").symlink_to("one.db")


def saved_weights(folder: Path) -> None:
    """w.pt: a state dict of the network [8] without its head."""
    import torch

    torch.save({"0.weight": torch.zeros(8, 64), "0.bias": torch.zeros(8)}, folder / "w.pt")


def pickled_weights(folder: Path) -> None:
    """w.pt: an object, which loading would have to execute."""
    import torch

    torch.save(torch.nn.Linear(2, 2), folder / "w.pt")


def table(folder: Path) -> None:
    """bad.yaml: a table with one cell, whose networks start from a file that is missing."""
    body = TRIAL.replace("[8]}", "[8], weights: w.pt}").replace("method: {name: finetune}\n", "")
    body = body.replace(", val_fraction: 0.2", "").replace("\n", "\n    ")
    file(
        f"title: T\ncolumns: {{finetune: F}}\nbases:\n  digits:{body}\nrows:\n  CL1:\n"
        "    base: digits\n    cells:\n      finetune: {trial: {method/name: finetune}}\n"
    )(folder)


def mnist(**changes: Any) -> Make:
    """Write data/mnist.npz with some arrays replaced, or left out where None."""

    def make(folder: Path) -> None:
        (folder / "data").mkdir()
        arrays = {
            "x_train": np.zeros((40, 28, 28), np.uint8),
            "y_train": np.arange(40) % 10,
            "x_test": np.zeros((20, 28, 28), np.uint8),
            "y_test": np.arange(20) % 10,
            **changes,
        }
        np.savez(folder / "data/mnist.npz", **{k: v for k, v in arrays.items() if v is not None})

    return make


def torn_npz(folder: Path) -> None:
    mnist()(folder)
    path = folder / "data/mnist.npz"
    path.write_bytes(path.read_bytes()[:5000])


def npz_bomb(folder: Path) -> None:
    """Write a header that promises a terabyte."""
    mnist()(folder)
    with zipfile.ZipFile(folder / "data/mnist.npz") as old:
        members = {name: old.read(name) for name in old.namelist()}
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1300000000, 28, 28), }\n"
    members["x_train.npy"] = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(folder / "data/mnist.npz", "w") as new:
        for name, content in members.items():
            new.writestr(name, content)


def changed_npz(folder: Path) -> None:
    mnist(digest=np.array("0" * 64))(folder)


# --- what an earlier start left ----------------------------------------------------------------


def kept(name: str, content: str, sweep: str = "mine") -> Make:
    """Write a file in a sweep's folder."""

    def make(folder: Path) -> None:
        for path, text in ((name, content), (".lock", "")):
            file(text, f"storage/sweeps/{sweep}/{path}")(folder)

    return make


def started(folder: Path) -> None:
    """Make a sweep `mine` with its study, and no trial yet."""
    import optuna

    from sweeps.study.searcher import open_study

    here = SweepFolder(folder / "storage", "mine")
    wanted = parse(parse_yaml(SPACE), "mine")
    kept(".lock", "")(folder)
    here.write_space(wanted.to_dict())
    here.write_info(status="KILLED", tracking_uri=None, study_url=None)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    open_study(wanted, "mine", here.study_url)


def empty_study(folder: Path) -> None:
    """Make other.db: an Optuna database without the study."""
    import optuna

    optuna.storages.RDBStorage(f"sqlite:///{folder / 'other.db'}")


def single(text: str | None = None, **config: Any) -> Make:
    """Write the result that `hcl run trial.yaml` would have left."""

    def make(folder: Path) -> None:
        path = single_seed(trial_config(), SweepFolder(folder / "storage", "single")).folder
        path.mkdir(parents=True)
        if text is not None:
            (path / "result.json").write_text(text)
        if config:
            other = Result(trial_config(**config).to_dict(), {}, {}, {}, "0" * 16)
            (path / "result.json").write_text(json.dumps(other.to_dict()))

    return make


def checkpoint_of_another(folder: Path) -> None:
    from hcl.storage import checkpoint

    checkpoint.save(folder / "old", 3, {"digest": "0123456789ab", "data_digest": "0"})


@contextmanager
def taken_port(number: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", number)):
        yield


@contextmanager
def lock_of_another(folder: Path) -> Iterator[None]:
    path = folder / "storage/sweeps/mine/.lock"
    path.parent.mkdir(parents=True)
    with open(path, "w") as file:
        file.write("4711")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def snapshot(folder: Path) -> Mapping[str, bytes | None]:
    """Return every path below the folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.is_file() and path.name != ".lock"  # an earlier start left one, always
        else None
        for path in sorted(folder.rglob("*"))
    }


def children() -> list[str]:
    """Return the command lines of processes that this one started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid():
                found.append(stat.with_name("cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it ended meanwhile
    return found
