"""Fully connected networks."""

from math import prod

from torch import nn

from hcl.config.target import TargetConfig
from hcl.networks.layers import fully_connected


def build(config: TargetConfig, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """Make a network with layers of `target/hidden_sizes`; images are flattened."""
    sizes = [prod(input_shape), *config.hidden_sizes, num_outputs]
    network = fully_connected(sizes, config.activation)
    return network if len(input_shape) == 1 else nn.Sequential(nn.Flatten(), *network)
