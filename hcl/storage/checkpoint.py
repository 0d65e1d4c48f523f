"""Checkpoints of a whole trial: written atomically, read safely, the last two kept."""

import os
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from hcl.config.schema import ConfigError

KEEP = 2
_SUFFIX = ".pt"


def save(folder: Path, number: int, state: dict[str, Any], keep: int | None = KEEP) -> Path:
    """Write `state` so that a reader sees all of it or nothing, then drop older checkpoints.

    Args:
        folder: made if it does not exist.
        number: rises with training; orders the checkpoints.
        state: tensors, numbers, strings, dicts, lists.
        keep: how many stay; None = all.

    Raises:
        OSError: the disk did not take it, e.g. because it is full; the older ones are as before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, number)
    for left in folder.glob(f".*{_SUFFIX}.*"):  # half-written by a killed process
        left.unlink(missing_ok=True)
    draft = folder / f".{path.name}.{os.getpid()}"
    try:
        with draft.open("wb") as file:
            _write(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    if keep is not None:
        trim(folder, keep)
    return path


def exists(folder: Path, number: int) -> bool:
    """Whether this checkpoint was written."""
    return _path(folder, number).is_file()


def load(folder: Path, number: int) -> dict[str, Any]:
    """One checkpoint, as safely as `load_latest`.

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
        # What the disk said is hidden behind an assertion of the zip writer, which then closes.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def load_latest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read; a damaged one is skipped with a warning.

    Never unpickles code (`weights_only=True`). Tensors come to the CPU.

    Returns:
        None where there is no readable checkpoint.
    """
    for path in reversed(_paths(folder)):
        try:
            return read(path)
        except Exception as e:  # damaged bytes raise nearly anything
            reason = str(e).splitlines()[0] if str(e) else type(e).__name__
            warnings.warn(f"skipping unreadable checkpoint {path}: {reason}", stacklevel=2)
    return None


def read(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote, checked for damage; code in it is refused.

    Raises:
        Exception: of nearly any kind where bytes are damaged.
    """
    _verify(path)
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:012d}{_SUFFIX}"


def _verify(path: Path) -> None:
    """torch.load does not look at the checksums that torch.save writes."""
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
