"""CIFAR-10 and CIFAR-100 from prepared `.npz` files or torchvision's download.

The images are sorted by their checksums: tasks, validation split and digest are the same
whichever form the files have.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcl.benchmarks.files import (
    FAILURES,
    KEYS,
    RawArrays,
    frozen,
    only_writer,
    read_npz,
    reason,
    socket_timeout,
)
from hcl.storage.files import DataError, check_is_folder

SHAPE = (32, 32, 3)
FIRST_CLASSES = 50  # of CIFAR-100, in a smaller file: all that `cifar_6` needs


@dataclass(frozen=True)
class DataSet:
    """A data set's names; `folder` and `kind` are torchvision's."""

    label: str
    num_classes: int
    npz: str
    folder: str
    kind: str
    first_npz: str = ""  # prepared file of the first FIRST_CLASSES classes alone


CIFAR10 = DataSet("CIFAR-10", 10, "cifar10.npz", "cifar-10-batches-py", "CIFAR10")
CIFAR100 = DataSet(
    "CIFAR-100", 100, "cifar100.npz", "cifar-100-python", "CIFAR100", "cifar100_first50.npz"
)


def load(root: Path, data_set: DataSet, num_classes: int) -> RawArrays:
    """Read the data set from `root`; download it if it is not there.

    Args:
        root: folder with the data.
        data_set: CIFAR10 or CIFAR100.
        num_classes: how many of its first classes are needed. Up to 50 of CIFAR-100 the first 50
            are returned, else all.

    Returns:
        Images uint8 (N, 32, 32, 3).

    Raises:
        DataError: a file is damaged, or missing and cannot be downloaded.
    """
    has_part = bool(data_set.first_npz) and num_classes <= FIRST_CLASSES
    limit = FIRST_CLASSES if has_part else data_set.num_classes
    names = [data_set.first_npz] * has_part + [data_set.npz]
    found = next((root / name for name in names if (root / name).is_file()), None)
    if found is None:
        arrays = _from_torchvision(root, data_set, num_classes)
    else:
        whole = found.name == data_set.npz
        arrays = read_npz(found, SHAPE, data_set.num_classes if whole else limit)
    return frozen(_ordered(arrays, limit))


def _ordered(arrays: RawArrays, limit: int) -> RawArrays:
    """Keep the images of the first `limit` classes, ordered by their checksums."""
    ordered = {}
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        kept = np.flatnonzero(y < limit)
        keys = [(hashlib.sha256(x[i].tobytes()).digest(), int(y[i])) for i in kept]
        order = kept[sorted(range(len(kept)), key=keys.__getitem__)]
        ordered[f"x_{split}"], ordered[f"y_{split}"] = x[order], y[order]
    return ordered


def _from_torchvision(root: Path, data_set: DataSet, num_classes: int) -> RawArrays:
    check_is_folder(root)
    try:
        if not (root / data_set.folder).is_dir():
            _download(root, data_set)
        return _read(root, data_set)
    except FAILURES as error:
        if (root / data_set.folder).is_dir() and not isinstance(error, ImportError):
            raise DataError(
                f"{root / data_set.folder} is not the official {data_set.label}"
                f" ({reason(error)}); delete it so that it is fetched again, or put a good copy"
                " there"
            ) from error
        part = (
            f" ({data_set.first_npz} is there, but has {FIRST_CLASSES} of the {num_classes}"
            " classes that are needed)"
            if data_set.first_npz and (root / data_set.first_npz).is_file()
            else ""
        )
        raise DataError(
            f"{data_set.label} is missing: no {data_set.npz} and no {data_set.folder} in"
            f" {root}{part}, and the download failed ({reason(error)}); put one of them there or"
            " give their --data-root (HCL_DATA)"
        ) from error


def _download(root: Path, data_set: DataSet) -> None:
    """Fetch with torchvision, once for all processes that ask at the same time."""
    kind = _kind(data_set)
    with only_writer(root, data_set.folder):
        if (root / data_set.folder).is_dir():
            return  # another process fetched it while we waited
        with tempfile.TemporaryDirectory(dir=root, prefix=".cifar-") as folder:
            with socket_timeout():
                kind(folder, download=True)
            os.replace(Path(folder) / data_set.folder, root / data_set.folder)


def _read(root: Path, data_set: DataSet) -> RawArrays:
    arrays: RawArrays = {}
    for split in ("train", "test"):
        # Compares the files with the official checksums before it unpickles them.
        images = _kind(data_set)(root, train=split == "train", download=False)
        arrays[f"x_{split}"], arrays[f"y_{split}"] = images.data, np.array(images.targets)
    assert arrays.keys() == set(KEYS)
    return arrays


def _kind(data_set: DataSet) -> Any:
    from torchvision import datasets  # only here: a prepared file needs no torchvision

    return getattr(datasets, data_set.kind)
