"""torchvision's classification models, by name, untrained and with as many outputs as needed."""

from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from hcl.config.schema import ConfigError
from hcl.config.target import TargetConfig


def build(config: TargetConfig, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """Make the model that `config.network` names, untrained, for images of `input_shape`.

    Raises:
        ConfigError: torchvision is missing or has no such model, or the model cannot take such
            images.
    """
    name = config.network
    try:
        from torchvision import models  # its import takes seconds, and it may be missing
    except ImportError as error:
        raise ConfigError(
            f"target/network: {name} comes with torchvision, which cannot be imported ({error});"
            " install it or use another network"
        ) from error
    if name not in models.list_models(module=models):
        raise ConfigError(f"target/network: the torchvision that is installed has no {name}")
    try:
        module: nn.Module = _make(models, name, input_shape, num_outputs)
        _try_out(module, input_shape)
    except (RuntimeError, ValueError, AssertionError) as error:
        shape = " x ".join(map(str, input_shape))
        raise ConfigError(
            f"target/network: {name} cannot take images of {shape}"
            f" ({str(error).splitlines()[0].rstrip('.')}); use another network"
        ) from error
    return module


def _make(models: Any, name: str, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    more: dict[str, Any] = {}
    if name.startswith("vit"):
        more = {"image_size": input_shape[1]}
    elif name.startswith("maxvit"):
        more = {"input_size": input_shape[1:]}
    elif name in ("googlenet", "inception_v3"):
        more = {"aux_logits": False, "init_weights": True}  # auxiliary heads only serve training
    wanted = torch.get_default_device()
    # RegNets compute their sizes with tensors, which need values: not on the meta device.
    device = "cpu" if name.startswith("regnet") else wanted
    with torch.device(device):
        module: nn.Module = models.get_model(name, weights=None, num_classes=num_outputs, **more)
    return module.to(wanted)


def _try_out(module: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Run it on the meta device: finds images that are too small before anything is trained."""
    tensors = (*module.named_parameters(), *module.named_buffers())
    weights = {key: tensor.to("meta") for key, tensor in tensors}
    module.eval()
    x = torch.empty(2, *input_shape, device="meta").to(memory_format=torch.channels_last)
    functional_call(module, weights, (x,), strict=True)
    module.train()
