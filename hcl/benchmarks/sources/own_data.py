"""A user's own data: an .npz, a data set of torchvision, or what an import path gives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hcl.benchmarks import files
from hcl.benchmarks.files import FAILURES, KEYS, OWN_KEYS, RawArrays, reason, socket_timeout
from hcl.config import plugins
from hcl.storage.files import DataError

KEPT = 4  # data sets that a process keeps: several trials read each of them once


class OwnData(NamedTuple):
    """A user's data set.

    Attributes:
        arrays: y has classes numbered in sorted order, int64 (N,), or numbers, float32 (N,
            outputs).
        digest: of the arrays.
        size: the number of classes, or of outputs.
        class_names: what y called the classes, in sorted order, where that is not 0, 1, 2, ...
    """

    arrays: RawArrays
    digest: str
    size: int
    class_names: tuple[str | int, ...]


_read: dict[tuple[str, str, str], OwnData] = {}  # by their state


def read(name: str, root: Path, targets: str = "classes") -> OwnData:
    """Read own data: x_train, y_train, x_test, y_test, and what else of OWN_KEYS there is.

    Args:
        name: a path ending in .npz (absolute, or in the data root, beside the settings or in the
            working folder), torchvision:NAME, or the import path of a function without arguments
            that returns the arrays by name.
        root: the data root.
        targets: what y has: classes, or numbers.

    Raises:
        DataError: they are missing, or not what a task can be made of.
    """
    if name.endswith(".npz"):
        path = _find(name, root)
        changed = path.stat().st_mtime_ns
        state, load = f"{path} {changed}", lambda: files.read_archive(path, OWN_KEYS)
    elif name.startswith("torchvision:"):
        state, load = str(root), lambda: _from_torchvision(name.partition(":")[2], root)
    else:
        state, load = plugins.digest([name]), lambda: plugins.load(name)()
    key = (name, state, targets)
    if key not in _read:
        arrays, size, class_names = _checked(load(), name, targets)
        while len(_read) >= KEPT:
            del _read[next(iter(_read))]
        _read[key] = OwnData(arrays, files.digest(arrays), size, class_names)
    return _read[key]


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


def _checked(arrays: Any, name: str, targets: str) -> tuple[RawArrays, int, tuple[str | int, ...]]:
    """Bring arrays into the form that sequences take, or say in a sentence what is wrong."""
    if not isinstance(arrays, Mapping):
        raise DataError(f"benchmark/data: {name} is no mapping; it needs {', '.join(KEYS)}")
    given = {key: np.asarray(arrays[key]) for key in OWN_KEYS if key in arrays}
    splits = ["train", "test", *(["val"] if {"x_val", "y_val"} & given.keys() else [])]
    problem = (
        _what_is_missing(given, splits)
        or next(filter(None, (_problem(given, split, targets) for split in splits)), "")
        or _disagreement(given, splits)
    )
    if problem:
        raise DataError(f"benchmark/data: {name}{problem}")
    classes = np.unique(given["y_train"])
    for split in splits:
        x, y = given[f"x_{split}"], given[f"y_{split}"]
        kind = np.uint8 if x.dtype == np.uint8 else np.float32
        given[f"x_{split}"] = np.ascontiguousarray(x, dtype=kind)
        if targets == "numbers":
            given[f"y_{split}"] = np.ascontiguousarray(y.reshape(len(y), -1), dtype=np.float32)
            continue
        strange = [str(label) for label in np.unique(y) if label not in classes]
        if strange:
            raise DataError(
                f"benchmark/data: {name}: y_{split} has the labels {', '.join(strange[:3])}, which"
                " y_train has not"
            )
        given[f"y_{split}"] = np.searchsorted(classes, y).astype(np.int64)
    for array in given.values():
        array.flags.writeable = False  # trials share them
    if targets == "numbers":
        return given, given["y_train"].shape[1], ()
    names = tuple(classes.tolist())
    return given, len(classes), () if names == tuple(range(len(names))) else names


def _what_is_missing(arrays: RawArrays, splits: list[str]) -> str:
    """Say which arrays there must be for those that are there; empty if there are all."""
    letters = "xyt" if any(key.startswith("t_") for key in arrays) else "xy"
    wanted = [f"{letter}_{split}" for letter in letters for split in splits]
    missing = [key for key in (*KEYS, *wanted) if key not in arrays]
    if not missing:
        return ""
    needed = ", ".join(dict.fromkeys((*KEYS, *wanted)))
    return f" has no {', '.join(dict.fromkeys(missing))}; it needs {needed}"


def _problem(arrays: RawArrays, split: str, targets: str) -> str:
    """Say what is wrong with the arrays of a split; empty if nothing is."""
    x, y, t = (arrays.get(f"{letter}_{split}", np.zeros(0)) for letter in "xyt")
    if x.dtype.kind not in "uifb" or not 2 <= x.ndim <= 4:
        return (
            f": x_{split} must be numbers of shape (N, features), (N, H, W) or (N, H, W, C) but"
            f" is {x.dtype} {x.shape}"
        )
    if targets == "numbers" and (y.dtype.kind not in "uif" or y.ndim not in (1, 2)):
        return f": y_{split} must be numbers (N,) or (N, outputs) but is {y.dtype} {y.shape}"
    if targets == "classes" and (y.ndim != 1 or y.dtype.kind not in "iuUSb"):
        fix = "; set benchmark/targets to numbers for a regression" if y.dtype.kind == "f" else ""
        return f": y_{split} must be whole numbers or text (N,) but is {y.dtype} {y.shape}{fix}"
    if len(x) != len(y) or not len(x):
        return f": x_{split} has {len(x)} samples and y_{split} has {len(y)} labels"
    if f"t_{split}" in arrays and (t.dtype.kind not in "iu" or t.shape != (len(x),)):
        return f": t_{split} must be whole numbers ({len(x)},) but is {t.dtype} {t.shape}"
    for name, values in (("x", x), ("y", y)):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return f": {name}_{split} has values that are no finite numbers"
    return ""


def _disagreement(arrays: RawArrays, splits: list[str]) -> str:
    """Say where the splits do not fit together; empty if they do."""
    for letter, what in (("x", "samples"), ("y", "targets")):
        shapes = {split: arrays[f"{letter}_{split}"].shape[1:] for split in splits}
        for split in splits:
            if shapes[split] != shapes["train"]:
                return (
                    f": {what} of {letter}_train have the shape {shapes['train']} and those of"
                    f" {letter}_{split} {shapes[split]}"
                )
    tasks = np.unique(arrays.get("t_train", 0))
    if tasks.tolist() != list(range(len(tasks))):
        shown = ", ".join(map(str, tasks[:5])) + (", ..." if len(tasks) > 5 else "")
        return f": t_train has the tasks {shown}; number them 0, 1, 2, ... without a gap"
    for split in splits:
        others = set(np.unique(arrays.get(f"t_{split}", 0)).tolist()) ^ set(tasks.tolist())
        if others:
            which = ", ".join(map(str, sorted(others)[:3]))
            return f": t_train and t_{split} do not have the same tasks; one of them lacks {which}"
    return ""
