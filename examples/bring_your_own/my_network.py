"""A network of one's own: a small convolutional one, for grey images that come as vectors."""

from torch import nn


def small_cnn(config, input_shape, num_outputs):
    """Make a network for (B, pixels) with `num_outputs` outputs."""
    channels, side = config.hidden_sizes[0], int(input_shape[0] ** 0.5)
    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        nn.Conv2d(1, channels, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(channels * ((side - 1) // 2) ** 2, num_outputs),
    )


small_cnn.SETTINGS = {"hidden_sizes": (8,)}  # the settings of `target` that it has
