"""Settings of the network that solves the tasks, and which networks there are."""

from dataclasses import dataclass
from typing import Any, Literal

from hcl.config import plugins
from hcl.config.schema import Choice, ConfigError, Group, setting

# torchvision's classification models (a test compares with the library's own list).
_NAMES = """
    alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161
    densenet169 densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3
    efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7 efficientnet_v2_l
    efficientnet_v2_m efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5 mnasnet0_75
    mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_16gf
    regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf
    regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf
    regnet_y_800mf regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d
    resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5
    shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b swin_s swin_t swin_v2_b swin_v2_s
    swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32
    vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
"""
TORCHVISION = tuple(_NAMES.split())
# Our own: the settings that each network has, and their defaults.
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden_sizes": (400, 400), "activation": "relu"},
    "resnet32": {"batch_norm": "per_task"},
    "zenkenet": {"hidden_sizes": (512,), "conv_dropout": 0.25, "fc_dropout": 0.5},
}
# The value of a setting for a network that does not have it.
ABSENT: dict[str, Any] = {
    "hidden_sizes": (),
    "activation": "relu",
    "conv_dropout": 0.0,
    "fc_dropout": 0.0,
    "batch_norm": "per_task",
}


@dataclass(frozen=True)
class TargetConfig:
    """Settings of the target network; their defaults depend on its name."""

    network: str = "mlp"  # its architecture
    hidden_sizes: tuple[int, ...] = setting((400, 400), ge=1)  # fully connected layers
    # After each hidden layer.
    activation: Literal["relu", "sigmoid"] = setting("relu", added_later=True)
    conv_dropout: float = setting(0.0, ge=0, lt=1, added_later=True)  # dropout after each pool
    # Dropout after each fully connected hidden layer.
    fc_dropout: float = setting(0.0, ge=0, lt=1, added_later=True)
    # File in the data root with a state dict to start from; its last layer is not used.
    weights: str = setting("", added_later=True)
    # Running statistics that batch norm predicts with: each task's own, or those of all so far.
    batch_norm: Literal["per_task", "shared"] = setting("per_task", added_later=True)

    def check(self) -> list[str]:
        """List settings that the network does not have, one sentence each."""
        own = _own_settings(self.network)
        given = {key: getattr(self, key) for key in ABSENT if key not in own}
        return [
            f"target/{key}: {self.network} has no such setting but got"
            f" {list(value) if isinstance(value, tuple) else value!r}; leave it out"
            for key, value in given.items()
            if value != ABSENT[key]
        ]


def takes_vectors(network: str) -> bool:
    """Return True if inputs may be vectors; all networks take images, a user's may take both."""
    return network == "mlp" or plugins.is_import_path(network)


def has_batch_norm(network: str) -> bool:
    """Return True if the network keeps running statistics."""
    if network in NETWORKS or plugins.is_import_path(network):
        return "batch_norm" in _own_settings(network)
    if network.startswith("vgg"):
        return network.endswith("_bn")
    return not network.startswith(("alexnet", "convnext", "squeezenet", "swin", "vit"))


def _own_settings(network: str) -> dict[str, Any]:
    """Return the settings of a network beside its name and `weights`, with their defaults."""
    if network in NETWORKS:
        return NETWORKS[network]
    if plugins.is_import_path(network):
        return dict(getattr(plugins.load(network), "SETTINGS", {}))
    return {"batch_norm": "per_task"} if has_batch_norm(network) else {}


def find_own(path: str) -> Choice | None:
    """Find the settings of a user's network: the `SETTINGS` of what an import path names.

    `SETTINGS` are those of ABSENT that it has, with their defaults; without them it has none.

    Raises:
        ConfigError: it cannot be imported or called, or no network has such settings.
    """
    if not plugins.is_import_path(path):
        return None
    if not callable(plugins.load(path)):
        raise ConfigError(
            f"{path} makes no network; name a class or function that takes a TargetConfig, the"
            " shape of one input and the number of outputs"
        )
    own = _own_settings(path)
    if strange := sorted(own.keys() - ABSENT.keys()):
        raise ConfigError(
            f"{path} has SETTINGS {', '.join(strange)}; networks may have {', '.join(ABSENT)}"
        )
    return TargetConfig, {"network": path, **ABSENT, **own}


GROUP = Group(
    choices={
        name: (TargetConfig, {"network": name, **ABSENT, **_own_settings(name)})
        for name in (*NETWORKS, *TORCHVISION)
    },
    default=TargetConfig.network,
    selector="network",
    noun="network",
    find_own=find_own,
    listed=f"{', '.join(NETWORKS)} and torchvision's classification models",
)
