"""Features of inputs: what a network computes before its output layer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcl.config import ConfigError
from hcl.networks.generated import output_names

AT_ONCE = 500  # inputs that run at once: bounds memory, not results


@torch.no_grad()
def features(network: nn.Module, num_outputs: int, x: Tensor) -> Tensor:
    """Compute the inputs of the output layer, scaled to length 1: (B, ...) -> (B, features).

    Args:
        network: run in its current mode.
        num_outputs: outputs of the network.
        x: the inputs.

    Raises:
        ConfigError: no layer has an output for each of `num_outputs`.
    """
    names = output_names(network, num_outputs)
    if not names:
        raise ConfigError("target/network: it has no output layer, whose inputs are its features")
    found: list[Tensor] = []

    def note(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(inputs[0])

    hook = network.get_submodule(names[0].rpartition(".")[0]).register_forward_pre_hook(note)
    try:
        for part in x.split(AT_ONCE):
            network(part)
    finally:
        hook.remove()
    return F.normalize(torch.cat(found).float(), dim=1)
