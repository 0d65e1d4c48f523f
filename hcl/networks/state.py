"""Tensors inside nested states: moved to a device, counted."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def to_device(state: Any, device: torch.device) -> Any:
    """Return nested dicts and lists with every tensor on `device`."""
    if isinstance(state, Tensor):
        return state.to(device)
    if isinstance(state, dict):
        return {key: to_device(value, device) for key, value in state.items()}
    if isinstance(state, list):
        return [to_device(value, device) for value in state]
    return state


def num_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the memory that tensors take, in bytes; on the meta device what they would take."""
    return sum(tensor.nbytes for tensor in tensors)
