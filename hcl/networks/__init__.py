"""Networks that solve the tasks, by name (`target/network`).

A new one is a file here, a line in NETWORKS, and its settings in NETWORKS of hcl/config/target.py.
torchvision's classification models need neither, nor does a user's own, named by its import path.
"""

from collections.abc import Callable

from torch import nn

from hcl.config import ConfigError, plugins
from hcl.config.target import TargetConfig, has_batch_norm
from hcl.networks import mlp, resnet32, torchvision_models, zenkenet

# Makes a network from its settings, the shape of one input and the number of outputs:
# (B, *input_shape) -> (B, num_outputs), linear outputs. Any nn.Module will do.
Builder = Callable[[TargetConfig, tuple[int, ...], int], nn.Module]
NETWORKS: dict[str, Builder] = {
    "mlp": mlp.build,
    "resnet32": resnet32.build,
    "zenkenet": zenkenet.build,
}


def build_network(
    config: TargetConfig, input_shape: tuple[int, ...], num_outputs: int
) -> nn.Module:
    """Make the network that `target/network` names, with torch's default initialisation.

    Raises:
        ConfigError: the network cannot take inputs of this shape, or a user's own is none.
    """
    if plugins.is_import_path(config.network):
        return _build_own(config, input_shape, num_outputs)
    builder = NETWORKS.get(config.network, torchvision_models.build)
    return builder(config, input_shape, num_outputs)


def _build_own(config: TargetConfig, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    made = plugins.load(config.network)(config, input_shape, num_outputs)
    if not isinstance(made, nn.Module):
        raise ConfigError(
            f"target/network: {config.network} made {made!r:.40}, no torch.nn.Module"
        )
    if next(made.buffers(), None) is not None and not has_batch_norm(config.network):
        raise ConfigError(
            f"target/network: {config.network} keeps running statistics (buffers); give it"
            " SETTINGS = {'batch_norm': 'shared'} or 'per_task'"
        )
    return made
