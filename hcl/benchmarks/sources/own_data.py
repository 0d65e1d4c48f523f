"""A user's own data: an .npz, a data set of torchvision, or what an import path gives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hcl.benchmarks import files
from hcl.benchmarks.files import FAILURES, KEYS, RawArrays, reason, socket_timeout
from hcl.config import plugins
from hcl.storage.files import DataError

_last: dict[tuple[str, str], tuple[RawArrays, str, int]] = {}  # the last data read, by their state


def read(name: str, root: Path) -> tuple[RawArrays, str, int]:
    """Read own data: x_train, y_train, x_test, y_test.

    Args:
        name: a path ending in .npz (absolute, or in the data root, beside the settings or in the
            working folder), torchvision:NAME, or the import path of a function without arguments
            that returns the four arrays by name.
        root: the data root.

    Returns:
        The arrays, with classes numbered in sorted order; their digest; the number of classes.

    Raises:
        DataError: they are missing, or not what a task can be made of.
    """
    if name.endswith(".npz"):
        path = _find(name, root)
        state, load = f"{path} {path.stat().st_mtime_ns}", lambda: files.read_archive(path)
    elif name.startswith("torchvision:"):
        state, load = str(root), lambda: _from_torchvision(name.partition(":")[2], root)
    else:
        state, load = plugins.digest([name]), lambda: plugins.load(name)()
    if (name, state) not in _last:  # several trials in one process read the data once
        arrays, num_classes = _checked(load(), name)
        _last.clear()
        _last[name, state] = arrays, files.digest(arrays), num_classes
    return _last[name, state]


def _find(name: str, root: Path) -> Path:
    folders = [Path("/")] if Path(name).is_absolute() else [root, *plugins.file_folders()]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    places = ", ".join(map(str, dict.fromkeys(folders)))
    raise DataError(f"benchmark/data: there is no {name} in {places}; give its path, or copy it"
                    " into the data root (--data-root, HCL_DATA)")  # fmt: skip


def _from_torchvision(name: str, root: Path) -> RawArrays:
    from torchvision import datasets  # only here: other data need no torchvision

    kind = getattr(datasets, name, None)
    if kind is None:
        raise DataError(f"benchmark/data: torchvision has no data set {name!r}")
    found: RawArrays = {}
    try:
        for split, is_train in (("train", True), ("test", False)):
            with socket_timeout():
                part = kind(root, train=is_train, download=True)
            found[f"x_{split}"] = np.asarray(part.data)
            found[f"y_{split}"] = np.asarray(part.targets)
    except (*FAILURES, TypeError, AttributeError) as error:
        raise DataError(
            f"benchmark/data: torchvision's {name} cannot be used ({reason(error)}); it must have"
            " a training and a test part with data and targets, as FashionMNIST"
        ) from None
    return found


def _checked(arrays: Any, name: str) -> tuple[RawArrays, int]:
    """Bring arrays into the form that sequences take, or say in a sentence what is wrong."""
    if not isinstance(arrays, Mapping) or (missing := [k for k in KEYS if k not in arrays]):
        lacks = f"has no {', '.join(missing)}" if isinstance(arrays, Mapping) else "is no mapping"
        raise DataError(f"benchmark/data: {name} {lacks}; it needs {', '.join(KEYS)}")
    given = {key: np.asarray(arrays[key]) for key in KEYS}
    problem = _problem(given)
    if problem:
        raise DataError(f"benchmark/data: {name}: {problem}")
    classes = np.unique(given["y_train"])
    found: RawArrays = {}
    for split in ("train", "test"):
        x, y = given[f"x_{split}"], given[f"y_{split}"]
        strange = [str(label) for label in np.unique(y) if label not in classes]
        if strange:
            raise DataError(
                f"benchmark/data: {name}: y_test has the labels {', '.join(strange[:3])}, which"
                " y_train has not"
            )
        kind = np.uint8 if x.dtype == np.uint8 else np.float32
        found[f"x_{split}"] = np.ascontiguousarray(x, dtype=kind)
        found[f"y_{split}"] = np.searchsorted(classes, y).astype(np.int64)
    for array in found.values():
        array.flags.writeable = False  # trials share them
    return found, len(classes)


def _problem(arrays: RawArrays) -> str:
    """Say what is wrong with own arrays; empty if nothing is."""
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.dtype.kind not in "uifb" or not 2 <= x.ndim <= 4:
            return (
                f"x_{split} must be numbers of shape (N, features), (N, H, W) or (N, H, W, C) but"
                f" is {x.dtype} {x.shape}"
            )
        if y.ndim != 1 or y.dtype.kind not in "iuUSb":
            return f"y_{split} must be whole numbers or text (N,) but is {y.dtype} {y.shape}"
        if len(x) != len(y) or not len(x):
            return f"x_{split} has {len(x)} samples and y_{split} has {len(y)} labels"
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            return f"x_{split} has values that are no finite numbers"
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        shapes = [arrays[f"x_{split}"].shape[1:] for split in ("train", "test")]
        return f"samples of x_train have the shape {shapes[0]} and those of x_test {shapes[1]}"
    return ""
