"""The convolutional network of Zenke et al. (2017)."""

from torch import nn

from hcl.config.target import TargetConfig

WIDTHS = (32, 64)  # channels of the two stages


def build(config: TargetConfig, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """Make convolutions 32-32-pool-64-64-pool, then fully connected layers.

    The variant of von Oswald et al.'s code: every second convolution has no padding, which makes
    1,276,508 weights with `hidden_sizes` (512,) and 60 outputs. Dropout follows each pool
    (`conv_dropout`) and each hidden layer (`fc_dropout`).
    """
    channels, height, width = input_shape
    layers: list[nn.Module] = []
    for stage in WIDTHS:
        layers += [
            nn.Conv2d(channels, stage, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(stage, stage, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(config.conv_dropout),
        ]
        channels, height, width = stage, (height - 2) // 2, (width - 2) // 2
    layers.append(nn.Flatten())
    size = channels * height * width
    for hidden in config.hidden_sizes:
        layers += [nn.Linear(size, hidden), nn.ReLU(), nn.Dropout(config.fc_dropout)]
        size = hidden
    return nn.Sequential(*layers, nn.Linear(size, num_outputs))
