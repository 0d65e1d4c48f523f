"""Layers that several networks are made of, and their initial values."""

from itertools import pairwise

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


def fully_connected(sizes: list[int], activation: str = "relu") -> nn.Sequential:
    """Stack linear layers with activations between them: sizes[0] inputs, sizes[-1] outputs."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def xavier_(network: nn.Module) -> None:
    """Set matrices to Xavier-uniform values and biases to 0, as in the code of von Oswald et al.

    Normalisation layers stay as they are: a scale of 0 would let nothing through.
    """
    for module in network.modules():
        if isinstance(module, NORMS):
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)
