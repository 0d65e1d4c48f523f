"""The file of a learner: tensors in the safetensors format, all else in its metadata as JSON."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from hcl.config import ConfigError
from hcl.storage.files import first_line, write_atomically

FORMAT = "hcl learner 1"


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write a nested state: tensors, numbers, strings, dicts, lists and tuples.

    Raises:
        ConfigError: safetensors is not installed.
        OSError: the disk did not take it; an older file is as it was.
    """
    library = _safetensors()
    tensors: dict[str, Tensor] = {}
    metadata = {"format": FORMAT, "learner": json.dumps(_describe(state, "", tensors))}
    write_atomically(path, library.save(tensors, metadata))


def read_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` wrote, tensors on the CPU; no code in the file is run.

    Raises:
        ConfigError: it is another file, or damaged; or safetensors is not installed.
    """
    library = _safetensors()
    try:
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
        state: dict[str, Any] = _restore(json.loads(metadata["learner"]), library.load_file(path))
    except Exception as error:  # damaged bytes raise nearly anything
        raise ConfigError(f"{path} is no learner that can be read ({first_line(error)})") from None
    return state


def _safetensors() -> Any:
    try:
        from safetensors import torch as library  # the rest of hcl does without
    except ImportError as error:
        raise ConfigError(
            f"files of learners need the library safetensors ({error}); pip install safetensors"
        ) from None
    return library


def _describe(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Turn a nested state into JSON; its tensors go into `tensors` under readable names."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()  # views are stored on their own
        return {"tensor": name}
    if isinstance(value, dict):
        items = [(key, _describe(v, f"{name}/{key}" if name else str(key), tensors))
                 for key, v in value.items()]  # fmt: skip
        return {"dict": items}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_describe(v, f"{name}/{i}", tensors) for i, v in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name} is a {type(value).__name__}, which a learner's file cannot hold")


def _restore(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo `_describe`."""
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "dict":
        return {key: _restore(v, tensors) for key, v in inner}
    made = [_restore(v, tensors) for v in inner]
    return made if kind == "list" else tuple(made)
