"""A user's arrays as a network takes them, and how many of them at once."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hcl.config import ConfigError

Arrays = np.ndarray | Tensor
# Most inputs, and most values in them, that are run at once where nobody says how many: 10,000
# images of MNIST, 2,700 of CIFAR, 55 of ImageNet's size. They bound memory, not results.
INPUTS_AT_ONCE, VALUES_AT_ONCE = 10_000, 2**23


def inputs_at_once(x: Tensor) -> int:
    """Say how many of the inputs x (N, ...) to run at once."""
    values = x[0].numel() if len(x) else 1
    return max(1, min(INPUTS_AT_ONCE, VALUES_AT_ONCE // max(1, values)))


def as_tensor(x: Arrays) -> Tensor:
    """Make a tensor of a user's array; an array that cannot be written to is copied."""
    if isinstance(x, Tensor):
        return x
    array = np.asarray(x)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def arrange_inputs(x: Arrays, input_shape: tuple[int, ...], padding: int = 0) -> Tensor:
    """Bring inputs into the shape that networks take; values stay as they are.

    Args:
        x: (N, *input_shape), or raw images of the data set: grey (N, H, W), or (N, H, W, C).
        input_shape: shape of one sample as a network takes it.
        padding: zero pixels that the benchmark adds on each side of a raw image.

    Returns:
        (N, *input_shape)

    Raises:
        ConfigError: the inputs have another shape, or values of a kind that is not known.
    """
    given = as_tensor(x)
    if given.dtype != torch.uint8 and not given.is_floating_point():
        raise ConfigError(
            f"x: must be uint8 (0 to 255) or floating point (as networks take it) but is"
            f" {given.dtype}"
        )
    arranged = given
    if tuple(given.shape[1:]) != input_shape:
        if given.ndim == 3:
            arranged = F.pad(given, (padding,) * 4).flatten(1)
        elif given.ndim == 4:
            arranged = F.pad(given.permute(0, 3, 1, 2), (padding,) * 4)
    if given.ndim < 2 or tuple(arranged.shape[1:]) != input_shape:
        wanted = ", ".join(map(str, input_shape))
        raise ConfigError(
            f"x: must have the shape (N, {wanted}) or be raw images of the benchmark's data but"
            f" has {tuple(given.shape)}"
        )
    return arranged


def as_values(x: Tensor) -> Tensor:
    """Make arranged inputs float32 as in training: uint8 is divided by 255."""
    together = x.ndim == 4 and x.device.type == "cpu"  # a CPU convolves such images faster
    order = torch.channels_last if together else torch.preserve_format
    values = x.to(torch.float32, memory_format=order)
    return values / 255 if x.dtype == torch.uint8 else values
