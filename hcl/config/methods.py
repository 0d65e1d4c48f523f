"""Settings of every method, and what is known about a method without training it.

There is no torch here, so search spaces are validated and tables are printed without loading it.
A new method adds its dataclass and a line in METHOD_CONFIGS; hcl/methods/base.py has the rest.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hcl.config.hypernets import (
    HnetConfig,
    HnetFromScratchConfig,
    HnetRConfig,
    HnetTirConfig,
    HnetVaeConfig,
    HypernetConfig,
)
from hcl.config.method_base import ALL, MethodConfig, ScenarioName
from hcl.config.schema import Group, setting

__all__ = [
    "ALL",
    "METHOD_CONFIGS",
    "HnetConfig",
    "HnetFromScratchConfig",
    "HnetRConfig",
    "HnetTirConfig",
    "HnetVaeConfig",
    "HypernetConfig",
    "MethodConfig",
    "ScenarioName",
    "method_name",
]


@dataclass(frozen=True)
class DgrConfig(MethodConfig):
    """Deep generative replay with an ordinary VAE. Defaults: split MNIST."""

    LABEL: ClassVar[str] = "DGR"

    encoder_sizes: tuple[int, ...] = setting((400, 400), ge=1)  # the VAE's hidden layers
    decoder_sizes: tuple[int, ...] = setting((400, 400), ge=1)  # its decoder's
    latent_size: int = setting(100, ge=1)  # numbers in the code


@dataclass(frozen=True)
class DgrDistillConfig(DgrConfig):
    """DGR with soft targets."""

    LABEL: ClassVar[str] = "DGR+distill"

    # The soft targets' cross-entropy on replayed images: summed over classes (Hinton et al.,
    # 2015), or averaged over them too, as in the published runs of van de Ven & Tolias (code
    # before 2019-05-17).
    distillation: Literal["sum", "mean_over_classes"] = setting("sum", added_later=True)


@dataclass(frozen=True)
class LwfConfig(MethodConfig):
    """Learning without forgetting."""

    LABEL: ClassVar[str] = "LwF"

    # The soft targets' cross-entropy: summed over classes (Hinton et al., 2015), or averaged over
    # them too, as in the published runs of van de Ven & Tolias (code before 2019-05-17).
    distillation: Literal["sum", "mean_over_classes"] = setting("sum", added_later=True)


@dataclass(frozen=True)
class ErConfig(MethodConfig):
    """Experience replay from a reservoir."""

    LABEL: ClassVar[str] = "ER"

    buffer_size: int = setting(1000, ge=1)  # samples, over all tasks


@dataclass(frozen=True)
class FinetuneConfig(MethodConfig):
    """One network trained on one task after the other, nothing protected ("None")."""

    LABEL: ClassVar[str] = "Fine-tuning"
    REGRESSION: ClassVar[bool] = True


@dataclass(frozen=True)
class FromScratchConfig(MethodConfig):
    """A new network for every task: the reference without transfer or forgetting."""

    LABEL: ClassVar[str] = "From scratch"
    SCENARIOS: ClassVar[tuple[str, ...]] = ("task",)
    REGRESSION: ClassVar[bool] = True
    WHY_NOT: ClassVar[str] = "it has one network per task and cannot tell which one to use"
    BATCH_NORM: ClassVar[tuple[str, ...]] = ("per_task",)


@dataclass(frozen=True)
class JointConfig(MethodConfig):
    """Trained on the data of all tasks so far ("offline"): the upper reference."""

    LABEL: ClassVar[str] = "Joint"
    REGRESSION: ClassVar[bool] = True
    BATCH_NORM: ClassVar[tuple[str, ...]] = ("shared",)  # a batch has samples of many tasks


@dataclass(frozen=True)
class SiConfig(MethodConfig):
    """Synaptic intelligence (Zenke et al., 2017). Default c: split MNIST, task scenario."""

    LABEL: ClassVar[str] = "SI"

    c: float = setting(50.0, ge=0)  # strength of the penalty
    damping: float = setting(0.1, gt=0)  # the xi of eq. 5, avoids division by zero


@dataclass(frozen=True)
class EwcConfig(MethodConfig):
    """Elastic weight consolidation (Kirkpatrick et al., 2017), one quadratic term per task."""

    LABEL: ClassVar[str] = "EWC"
    REGRESSION: ClassVar[bool] = True

    ewc_lambda: float = setting(1e7, ge=0)  # strength of the penalty
    fisher_samples: int = setting(0, ge=0)  # training samples in the Fisher; 0 = all
    # The label whose log-likelihood's gradient is squared: the network's own choice (van de Ven &
    # Tolias), drawn from its output, the true one ("empirical"), or all labels (expectation). A
    # regression has the last two.
    fisher_labels: Literal["predicted", "sampled", "true", "expected"] = "predicted"


@dataclass(frozen=True)
class OnlineEwcConfig(EwcConfig):
    """Online EWC (Schwarz et al., 2018): one running Fisher, decayed by gamma per task."""

    LABEL: ClassVar[str] = "Online EWC"

    ewc_lambda: float = setting(1e8, ge=0)  # strength of the penalty
    gamma: float = setting(0.8, ge=0, le=1)  # what is left of older tasks' Fisher at a task's end


# Registry keys are [a-z0-9_] (MLflow takes no "+"); tables have columns in this order.
METHOD_CONFIGS: dict[str, type[MethodConfig]] = {
    "hnet": HnetConfig,
    "hnet_tir": HnetTirConfig,
    "hnet_r": HnetRConfig,
    "online_ewc": OnlineEwcConfig,
    "ewc": EwcConfig,
    "si": SiConfig,
    "dgr": DgrConfig,
    "dgr_distill": DgrDistillConfig,
    "lwf": LwfConfig,
    "er": ErConfig,
    "finetune": FinetuneConfig,
    "from_scratch": FromScratchConfig,
    "hnet_from_scratch": HnetFromScratchConfig,
    "joint": JointConfig,
}

GROUP = Group(
    choices={name: (kind, {}) for name, kind in METHOD_CONFIGS.items()},
    default="hnet",
    selector="name",
    noun="method",
)


def method_name(config: Any) -> str:
    """Return the registry key of a method's settings."""
    return next(name for name, cls in METHOD_CONFIGS.items() if type(config) is cls)
