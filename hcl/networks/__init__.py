"""Networks that solve tasks, by name. A new one is a file, a line here and one in NETWORKS of
hcl/config/target.py; torchvision's need neither."""

from collections.abc import Callable

from torch import nn

from hcl.config.target import TargetConfig
from hcl.networks import mlp, resnet32, torchvision_models, zenkenet

Builder = Callable[[TargetConfig, tuple[int, ...], int], nn.Module]
NETWORKS: dict[str, Builder] = {
    "mlp": mlp.build,
    "resnet32": resnet32.build,
    "zenkenet": zenkenet.build,
}


def build_network(
    config: TargetConfig, input_shape: tuple[int, ...], num_outputs: int
) -> nn.Module:
    """The network that `target/network` names, with torch's default initialisation.

    Raises:
        ConfigError: it cannot take such inputs.
    """
    builder = NETWORKS.get(config.network, torchvision_models.build)
    return builder(config, input_shape, num_outputs)
