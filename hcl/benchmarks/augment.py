"""Random crops and flips of a batch of images, on its device, without a loop over images."""

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4  # black pixels on each side that a crop can reach into


def crop_and_flip(x: Tensor, draws: torch.Generator) -> Tensor:
    """Shift each image by up to 4 pixels each way, and mirror it or not.

    This is the usual augmentation of CIFAR (He et al., 2016, section 4.2).

    Args:
        x: (B, channels, height, width).
        draws: CPU generator: all devices then draw the same.

    Returns:
        The changed images, in the shape of x.
    """
    count, channels, height, width = x.shape
    shifts = torch.randint(2 * PADDING + 1, (2, count, 1), generator=draws)
    is_flipped = torch.randint(2, (count, 1), generator=draws).bool()
    forward = torch.arange(width)
    rows = shifts[0] + torch.arange(height)  # (B, height), of the padded images
    columns = shifts[1] + torch.where(is_flipped, forward.flip(0), forward)
    places = rows[:, :, None] * (width + 2 * PADDING) + columns[:, None, :]
    padded = F.pad(x, (PADDING,) * 4).flatten(2)
    index = places.flatten(1)[:, None].to(x.device).expand(-1, channels, -1)
    # gather, because indexing with several tensors is several times slower on a CPU
    result = padded.gather(2, index).view(x.shape)
    return torch.empty_like(x).copy_(result)  # with x's order in memory
