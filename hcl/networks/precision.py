"""A network that computes in bfloat16, where its hardware gains by it.

Its weights, their gradients and its outputs stay float32 (automatic mixed precision); products and
convolutions round their factors. bfloat16 has float32's range, so no loss has to be scaled.
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

AUTOCAST_ON = ("cpu", "cuda")


class Bfloat16:
    """Runs a network under torch's autocast, and gives its outputs as float32."""

    def __init__(self) -> None:
        self._open: list[Any] = []  # contexts of the calls under way

    def put_around(self, network: nn.Module) -> None:
        """Let the network compute in bfloat16 from now on; its parameters keep their names."""
        network.register_forward_pre_hook(self._enter)
        network.register_forward_hook(self._leave, always_call=True)

    def _enter(self, _network: nn.Module, inputs: tuple[Any, ...]) -> None:
        kind = inputs[0].device.type
        # Without a cache: generated weights are new tensors, which a cache would keep alive.
        # On the meta device nothing is computed but shapes.
        context = (
            torch.autocast(kind, torch.bfloat16, cache_enabled=False)
            if kind in AUTOCAST_ON
            else nullcontext()
        )
        context.__enter__()
        self._open.append(context)

    def _leave(self, _network: nn.Module, _inputs: tuple[Any, ...], outputs: Tensor) -> Tensor:
        self._open.pop().__exit__(None, None, None)
        return outputs.float() if isinstance(outputs, Tensor) else outputs
