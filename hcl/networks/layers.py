"""What networks are made of, and how some of them start."""

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


def fully_connected(sizes: list[int], activation: str = "relu") -> nn.Sequential:
    """Linear layers, activations between them: sizes[0] inputs, sizes[-1] linear outputs."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def xavier_(network: nn.Module) -> None:
    """Xavier-uniform matrices and zero biases, as the authors' code starts every network.

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
