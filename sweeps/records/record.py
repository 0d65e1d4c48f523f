"""One record of a journal: its shape, and the line that holds it with a checksum.

A line is a JSON object whose last entry, "crc32", is the checksum of everything before it. Lines
without one, from versions that wrote none, are read too.
"""

import json
import math
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENDS = ("end", "failed", "stopped")  # kinds of a journal's last record
CHECKSUM = "crc32"
_CHECKED = re.compile(rb', "crc32": "([0-9a-f]{8})"\}$')
_RUN_KEY = re.compile(r"[\w.-]+/[\w.-]+/seed_\d+")  # it becomes a part of MLflow queries
STATUSES = ("FINISHED", "FAILED", "KILLED")  # of MLflow, which knows no others that we need
LATEST = 1e11  # seconds since 1970, the year 5138: what is later is no time


def encode(record: dict[str, Any]) -> bytes:
    """Write a record as a line, newline included; NaN and infinity become null.

    Raises:
        TypeError: JSON cannot hold one of the values.
        ValueError: the record is not of its kind's shape.
    """
    record = _strict(record)
    if wrong := find_wrong(record):
        raise ValueError(f"a journal cannot hold this record: {wrong}")
    body = json.dumps(record, allow_nan=False, ensure_ascii=False).encode()[:-1]
    return body + f', "{CHECKSUM}": "{zlib.crc32(body):08x}"}}\n'.encode()


def decode(line: bytes) -> dict[str, Any]:
    """Read a line, without its newline.

    Raises:
        ValueError: it is damaged; says how.
    """
    if checked := _CHECKED.search(line):
        body = line[: checked.start()]
        if int(checked[1], 16) != zlib.crc32(body):
            raise ValueError("its checksum is wrong")
        line = body + b"}"
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")
    if CHECKSUM in record:
        raise ValueError("its checksum is damaged")
    if wrong := find_wrong(record):
        raise ValueError(wrong)
    return record


def find_wrong(record: dict[str, Any]) -> str:
    """Say what of a record is not of its kind's shape; empty if nothing is."""
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in REQUIRED:
        return f"its kind is {str(kind)[:40]!r}"
    for key in ("kind", "time", *REQUIRED[kind]):
        if key not in record:
            return f"it has no {key!r}"
    for key, is_right in SHAPES.items():
        if key in record and not is_right(record[key]):
            return f"its {key!r} is {str(record[key])[:40]!r}"
    return ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_number(value: Any) -> bool:
    """Tell whether a value is a number that a float can hold, or null."""
    if value is None:
        return True
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < 1.7e308  # false for NaN too


def _is_dict_of(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(is_right, value.values()))


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _is_matrix(value: Any) -> bool:
    """Tell whether a value is a list of rows whose row t has t + 1 numbers."""
    return isinstance(value, list) and all(
        isinstance(row, list) and len(row) == t + 1 and all(map(_is_number, row))
        for t, row in enumerate(value)
    )


def _is_trial_config(value: Any) -> bool:
    return isinstance(value, dict) and _is_count(value.get("benchmark/num_tasks", 0))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# Kind -> the fields that a record of it must have; it may have others.
REQUIRED: dict[str, tuple[str, ...]] = {
    "start": ("run_key", "sweep", "trial", "seed", "phase", "params"),
    "resume": (),
    "task": ("tasks_learned", "metrics"),
    "scores": ("total_steps", "metrics"),
    "end": ("metrics",),
    "failed": ("reason",),
    "stopped": ("tasks_learned",),
    "mended": ("lines", "kept_as"),
}
# Field -> whether a value can be its value, in a record of any kind.
SHAPES: dict[str, Callable[[Any], bool]] = {
    "time": lambda value: value is not None and _is_number(value) and 0 <= value < LATEST,
    "run_key": lambda value: isinstance(value, str) and bool(_RUN_KEY.fullmatch(value)),
    "sweep": _is_text,
    "trial": lambda value: isinstance(value, str) or _is_count(value),
    "seed": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "phase": _is_text,
    "params": _is_trial_config,
    "tags": lambda value: isinstance(value, dict),
    "tasks_learned": _is_count,
    "metrics": _is_dict_of(_is_number),
    "seconds": _is_number,
    "steps_per_second": _is_number,
    "usage": _is_dict_of(_is_number),
    "total_steps": _is_count,
    # A picture in the seed's own folder: whatever lies elsewhere is nobody's to upload.
    "samples": lambda value: isinstance(value, str) and Path(value).name == value,
    "curves": lambda value: isinstance(value, list) and all(map(_is_numbers, value)),
    "accuracy": _is_dict_of(_is_matrix),
    "status": lambda value: value in STATUSES,
    "reason": _is_text,
    "again": lambda value: isinstance(value, bool),
    "data_digest": _is_text,
    "versions": lambda value: isinstance(value, dict),
    "lines": lambda value: isinstance(value, list) and all(map(_is_count, value)),
    "kept_as": _is_text,
}


def _strict(value: Any) -> Any:
    """Convert a value to what strict JSON can hold; numpy and torch numbers become Python's."""
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return _strict(value.tolist())
    raise TypeError(f"a journal cannot hold a {type(value).__name__}: {value!r}")
