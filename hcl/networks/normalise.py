"""Images normalised by the network that answers them.

Pixels stay in [0, 1] everywhere else: augmentation pads with black, replay models generate pixels,
a buffer keeps them in 8 bits, and a trained learner takes raw images.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Normalise:
    """(x - mean) / std for each channel of images (B, channels, height, width).

    Attributes:
        mean: of each channel's pixels in [0, 1].
        std: of the same.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, x: Tensor) -> Tensor:
        mean, std = (
            torch.tensor(values, dtype=x.dtype, device=x.device).view(-1, 1, 1)
            for values in (self.mean, self.std)
        )
        return (x - mean) / std

    def put_before(self, network: nn.Module) -> None:
        """Normalise the network's inputs from now on; its parameters keep their names."""
        network.register_forward_pre_hook(self._on_inputs)

    def _on_inputs(self, _network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self(inputs[0]), *inputs[1:])
