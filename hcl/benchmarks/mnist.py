"""MNIST from a prepared `mnist.npz`, the official idx files, or torchvision's download.

Everything found is checked: an .npz for its keys, types and ranges, idx files (packed or not) for
the checksum of the official ones.
"""

import gzip
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

from hcl.benchmarks.files import (
    FAILURES,
    RawArrays,
    frozen,
    only_writer,
    read_npz,
    reason,
    socket_timeout,
)
from hcl.storage.files import DataError, check_is_folder

NPZ = "mnist.npz"
RAW = Path("MNIST") / "raw"  # where torchvision puts the files

# Per key: file name, md5 of the official .gz, md5 of its content.
FILES = {
    "x_train": (
        "train-images-idx3-ubyte",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "6bbc9ace898e44ae57da46a324031adb",
    ),
    "y_train": (
        "train-labels-idx1-ubyte",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "a25bea736e30d166cdddb491f175f624",
    ),
    "x_test": (
        "t10k-images-idx3-ubyte",
        "9fb629c4189551a2d022fa330f9573f3",
        "2646ac647ad5339dbf082846283269ea",
    ),
    "y_test": (
        "t10k-labels-idx1-ubyte",
        "ec29112dd5afa0611ce80d1b7f02629c",
        "27ae3e4e09519cfbb04c329615203637",
    ),
}


def load(root: Path) -> RawArrays:
    """Read MNIST from `root`; download it if it is not there.

    Raises:
        DataError: a file is damaged, or missing and cannot be downloaded.
    """
    if (root / NPZ).is_file():
        return read_npz(root / NPZ, image_shape=(28, 28), num_classes=10)
    if missing_files(root):
        _download(root)
    return frozen(
        {key: _read_official(root / RAW / name, key) for key, (name, *_) in FILES.items()}
    )


def missing_files(root: Path) -> list[str]:
    """List the idx files that `root` has neither plain nor as .gz."""
    names = [name for name, *_ in FILES.values()]
    return [n for n in names if not any((root / RAW / f).is_file() for f in (n, f"{n}.gz"))]


def _read_official(path: Path, key: str) -> np.ndarray:
    _, packed_md5, content_md5 = FILES[key]
    path = path if path.is_file() else path.with_name(f"{path.name}.gz")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); make it readable") from error
    if path.suffix == ".gz":
        _verify(path, content, packed_md5)
        content = gzip.decompress(content)
    _verify(path, content, content_md5)
    return parse_idx(content, path)


def _verify(path: Path, data: bytes, md5: str) -> None:
    actual = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if actual != md5:
        raise DataError(
            f"{path} is not the official MNIST file (md5 {actual}, expected {md5}), perhaps a"
            " broken download; delete it so that it is fetched again, or put a good copy there"
        )


def parse_idx(content: bytes, path: Path) -> np.ndarray:
    """Read an idx file of unsigned bytes: magic 0, 0, 8, ndim; big-endian sizes; data.

    Args:
        content: the unpacked file.
        path: its name, for messages.

    Raises:
        DataError: the content is no such file, or has the wrong length.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or not content[3]:
        raise DataError(f"{path} is not an idx file of unsigned bytes (it starts {content[:4]!r})")
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    size = int(np.prod(shape, dtype=np.int64))
    if len(content) != start + size:
        raise DataError(
            f"{path} should hold {start + size} bytes for shape {shape} but has {len(content)}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _download(root: Path) -> None:
    """Fetch with torchvision, once for all processes that ask at the same time."""
    check_is_folder(root)
    try:
        with only_writer(root, "mnist"):
            if missing_files(root):  # else another process fetched them while we waited
                _fetch(root)
    except FAILURES as error:
        missing = ", ".join(missing_files(root))
        raise DataError(
            f"MNIST is missing: no {NPZ} in {root} and no {missing} (or .gz) in its {RAW}, and the"
            f" download failed ({reason(error)}); put the files there or give their --data-root"
            " (HCL_DATA)"
        ) from error


def _fetch(root: Path) -> None:
    from torchvision.datasets import MNIST  # only here: files that are there need no torchvision

    with tempfile.TemporaryDirectory(dir=root, prefix=".mnist-") as folder:
        with socket_timeout():
            MNIST(folder, download=True)
        (root / RAW).mkdir(parents=True, exist_ok=True)
        for name, *_ in FILES.values():
            os.replace(Path(folder) / RAW / name, root / RAW / name)
