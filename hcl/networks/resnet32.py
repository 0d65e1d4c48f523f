"""The residual network for CIFAR."""

import torch.nn.functional as F
from torch import Tensor, nn

from hcl.config.target import TargetConfig

WIDTHS = (16, 32, 64)  # channels of the three stages
BLOCKS = 5  # per stage; 6 * 5 + 2 = 32 layers


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut without weights.

    The shortcut is the paper's option A: every other pixel, and zeros for the new channels.

    Args:
        channels_in: channels of the input.
        channels: channels of the output; where they differ, the image's sides are halved.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.stride = 1 if channels_in == channels else 2
        self.conv1 = nn.Conv2d(channels_in, channels, 3, self.stride, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return F.relu(x + y)


class ResNet32(nn.Module):
    """ResNet-32 for small images (He et al., 2016, section 4.2).

    Convolutions have biases, as in the code of von Oswald et al.: 468,540 weights for 60 outputs.

    Args:
        channels: channels of the images.
        num_outputs: linear outputs.
    """

    def __init__(self, channels: int, num_outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, WIDTHS[0], 3, padding=1)
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        blocks, width = [], WIDTHS[0]
        for stage in WIDTHS:
            for _ in range(BLOCKS):
                blocks.append(Block(width, stage))
                width = stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x)))
        return self.head(self.blocks(x).mean((2, 3)))


def build(_: TargetConfig, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """Build the network for images (channels, height, width) of any size."""
    return ResNet32(input_shape[0], num_outputs)
