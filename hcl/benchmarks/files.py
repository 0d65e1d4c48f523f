"""Raw data sets as numpy arrays: checks of prepared files, downloads by one process at a time."""

import hashlib
import re
import socket
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import numpy as np

from hcl.storage.files import DataError, first_line, locked

KEYS = ("x_train", "y_train", "x_test", "y_test")
# What a user's own data may have too: a validation part, and the task of each sample.
OWN_KEYS = (*KEYS, "x_val", "y_val", "t_train", "t_test", "t_val")
# KEYS; images uint8 (N, H, W) or (N, H, W, C), labels int64 (N,). Own data have more forms
# (`sources.own_data`).
RawArrays = dict[str, np.ndarray]


def read_npz(path: Path, image_shape: tuple[int, ...], num_classes: int) -> RawArrays:
    """Read a prepared file, which has KEYS and may have `classes`. Pickles are refused.

    Raises:
        DataError: the file cannot be read, or its arrays are not what KEYS should hold.
    """
    arrays = read_archive(path)
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise DataError(
            f"{path} has no {', '.join(missing)}; write it again with numpy.savez and the keys"
            f" {', '.join(KEYS)}"
        )
    for split in ("train", "test"):
        problem = _problem(arrays, split, image_shape, num_classes)
        if problem:
            raise DataError(f"{path}: {problem}")
    return frozen(arrays)


def read_archive(path: Path, keys: tuple[str, ...] = KEYS) -> RawArrays:
    """Read arrays, as far as they are there, without any check of what they hold.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:  # opened here: np.load leaves a damaged file open
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            # No others are read: `classes` may hold text, and nothing here needs it.
            return {key: archive[key] for key in keys if key in archive.files}
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read as an .npz of plain arrays ({first_line(error)}); delete it"
            " and prepare it again, or write it again with numpy.savez"
        ) from error


def _problem(
    arrays: RawArrays, split: str, image_shape: tuple[int, ...], num_classes: int
) -> str | None:
    x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
    if x.dtype != np.uint8 or x.ndim < 2 or x.shape[1:] != image_shape or len(x) == 0:
        wanted = ", ".join(map(str, image_shape))
        return f"x_{split} must be uint8 of shape (N, {wanted}) but is {x.dtype} {x.shape}"
    if y.dtype.kind not in "iu" or y.shape != (len(x),):
        return f"y_{split} must be integers of shape ({len(x)},) but is {y.dtype} {y.shape}"
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= num_classes:
        return f"y_{split} must lie in 0..{num_classes - 1} but holds {low}..{high}"
    return None


def frozen(arrays: RawArrays) -> RawArrays:
    """Make labels int64 and protect all arrays from writes: trials share them in a cache."""
    for key in KEYS:
        dtype = np.uint8 if key.startswith("x") else np.int64
        arrays[key] = np.ascontiguousarray(arrays[key], dtype=dtype)
        arrays[key].flags.writeable = False
    return arrays


def digest(arrays: RawArrays) -> str:
    """Hash shapes, pixels and labels: SHA-256, the same on every machine, for every file form."""
    total = hashlib.sha256()
    for key in (key for key in OWN_KEYS if key in arrays):
        array = arrays[key].astype(arrays[key].dtype.newbyteorder("<"), copy=False)
        total.update(f"{key}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


@contextmanager
def only_writer(root: Path, name: str) -> Iterator[None]:
    """Be the only process that writes the data `name` into `root`; wait for the one that does.

    A failure leaves no lock behind, and no folder made for it.
    """
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    lock = root / f".{name}.lock"
    try:
        with locked(lock):
            yield
    except BaseException:
        lock.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # somebody else uses it by now
                folder.rmdir()
        raise


CONNECT_TIMEOUT = 20.0  # seconds without an answer from a mirror


# Errors of torchvision's downloads, and of its own absence.
FAILURES = (ImportError, RuntimeError, OSError, HTTPException, EOFError, zlib.error)


@contextmanager
def socket_timeout() -> Iterator[None]:
    """Give up on a mirror that does not answer.

    torchvision sets no limit, and waits for minutes behind a firewall that drops packets.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def reason(error: BaseException) -> str:
    """Quote why a download failed, inside one sentence."""
    # torchvision lists every mirror it tried; the last line is the last one's failure.
    lines = [line for line in str(error).splitlines() if line.strip()]
    last = lines[-1].strip() if lines else first_line(error)
    return re.sub(r"<urlopen error (?:\[Errno -?\d+\] )?(.*)>", r"\1", last)
