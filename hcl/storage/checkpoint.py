"""Checkpoints of a trial: written atomically, read safely; the last two are kept."""

import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from hcl.config.schema import ConfigError
from hcl.storage.files import first_line, write_atomically

KEEP = 2
_SUFFIX = ".pt"


def save(folder: Path, number: int, state: dict[str, Any], keep: int | None = KEEP) -> Path:
    """Write `state`, whole or not at all, then remove older checkpoints.

    Args:
        folder: made if it does not exist.
        number: orders the checkpoints; it grows as training goes on.
        state: tensors, numbers, strings, dicts, lists.
        keep: how many stay; None = all.

    Raises:
        OSError: the disk did not take it, perhaps because it is full; older ones are left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, number)
    for left in folder.glob(f".*{_SUFFIX}.*"):  # half-written by a killed process
        left.unlink(missing_ok=True)
    write_atomically(path, lambda file: _write(state, file))
    if keep is not None:
        trim(folder, keep)
    return path


def exists(folder: Path, number: int) -> bool:
    """Say if this checkpoint was written."""
    return _path(folder, number).is_file()


def load(folder: Path, number: int) -> dict[str, Any]:
    """Read one checkpoint, as safely as `load_latest` does.

    Raises:
        ConfigError: it is not there, or damaged.
    """
    path = _path(folder, number)
    try:
        return read(path)
    except Exception as error:  # damaged bytes raise nearly anything
        raise ConfigError(f"{path} cannot be read ({error}); remove its folder") from error


def _write(state: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:
        # The zip writer closes after the disk's error and raises an assertion that hides it.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def load_latest(folder: Path) -> dict[str, Any] | None:
    """Read the newest checkpoint that can be read; skip a damaged one with a warning.

    Never unpickles code (`weights_only=True`). Tensors come to the CPU.

    Returns:
        None where there is no readable checkpoint.
    """
    for path in reversed(_paths(folder)):
        try:
            return read(path)
        except Exception as e:  # damaged bytes raise nearly anything
            message = f"skipping unreadable checkpoint {path}: {first_line(e)}"
            warnings.warn(message, stacklevel=2)
    return None


def read(path: Path) -> dict[str, Any]:
    """Read what `torch.save` wrote; check it for damage and refuse code in it.

    Raises:
        Exception: of nearly any kind where bytes are damaged.
    """
    _verify(path)
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:012d}{_SUFFIX}"


def _verify(path: Path) -> None:
    """Compare the checksums that torch.save writes; torch.load does not."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise zipfile.BadZipFile(f"{damaged} is damaged")


def trim(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints."""
    paths = _paths(folder)
    for path in paths[: max(0, len(paths) - keep)]:
        path.unlink(missing_ok=True)


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"[0-9]*{_SUFFIX}"))
