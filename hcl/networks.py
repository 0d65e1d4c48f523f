"""Networks that solve tasks, by name."""

from collections.abc import Callable
from math import prod

from torch import nn

from hcl.config import TargetConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}


def fully_connected(sizes: list[int], activation: str = "relu") -> nn.Sequential:
    """Linear layers, activations between them: sizes[0] inputs, sizes[-1] linear outputs."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def xavier_(module: nn.Module) -> None:
    """Xavier-uniform matrices and zero biases, as the authors' code starts every network."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)


def mlp(config: TargetConfig, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """Fully connected network."""
    sizes = [prod(input_shape), *config.hidden_sizes, num_outputs]
    network = fully_connected(sizes, config.activation)
    return network if len(input_shape) == 1 else nn.Sequential(nn.Flatten(), *network)


NETWORKS: dict[str, Callable[[TargetConfig, tuple[int, ...], int], nn.Module]] = {"mlp": mlp}


def build_network(
    config: TargetConfig, input_shape: tuple[int, ...], num_outputs: int
) -> nn.Module:
    """The network that `target/network` names, with torch's default initialisation."""
    return NETWORKS[config.network](config, input_shape, num_outputs)
