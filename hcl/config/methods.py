"""Settings of every method, and what is known about a method without training it.

There is no torch here, so search spaces are validated and tables are printed without loading it.
A new method adds its dataclass and a line in METHOD_CONFIGS; hcl/methods/base.py has the rest.
"""

import sys
import types
import typing
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from hcl.config import plugins
from hcl.config.hypernets import (
    HnetConfig,
    HnetFromScratchConfig,
    HnetRConfig,
    HnetTirConfig,
    HnetVaeConfig,
    HypernetConfig,
    PrBbbConfig,
)
from hcl.config.method_base import ALL, MethodConfig, ScenarioName
from hcl.config.rehearsal import (
    AGemConfig,
    DerConfig,
    DerPlusConfig,
    ErAceConfig,
    ErConfig,
    IcarlConfig,
)
from hcl.config.schema import Choice, ConfigError, Group, setting

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
    "PrBbbConfig",
    "ScenarioName",
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
class XdgConfig(SiConfig):
    """Context-dependent gating (Masse et al., 2018), alone or with SI."""

    LABEL: ClassVar[str] = "XdG"
    SCENARIOS: ClassVar[tuple[str, ...]] = ("task",)
    WHY_NOT: ClassVar[str] = "its gates follow from the task of an input"

    gated: float = setting(0.8, ge=0, lt=1)  # share of the hidden units that a task has off
    c: float = setting(0.0, ge=0)  # strength of SI's penalty beside the gates; 0 = gates alone


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


@dataclass(frozen=True)
class MasConfig(MethodConfig):
    """Memory aware synapses (Aljundi et al., 2018): importances from outputs, without labels."""

    LABEL: ClassVar[str] = "MAS"
    REGRESSION: ClassVar[bool] = True

    mas_lambda: float = setting(1.0, ge=0)  # strength of the penalty
    importance_samples: int = setting(0, ge=0)  # training inputs looked at per task; 0 = all


# Registry keys are [a-z0-9_] (MLflow takes no "+"); tables have columns in this order.
METHOD_CONFIGS: dict[str, type[MethodConfig]] = {
    "hnet": HnetConfig,
    "hnet_tir": HnetTirConfig,
    "hnet_r": HnetRConfig,
    "pr_bbb": PrBbbConfig,
    "online_ewc": OnlineEwcConfig,
    "ewc": EwcConfig,
    "si": SiConfig,
    "mas": MasConfig,
    "xdg": XdgConfig,
    "dgr": DgrConfig,
    "dgr_distill": DgrDistillConfig,
    "lwf": LwfConfig,
    "er": ErConfig,
    "er_ace": ErAceConfig,
    "der": DerConfig,
    "der_plus": DerPlusConfig,
    "agem": AGemConfig,
    "icarl": IcarlConfig,
    "finetune": FinetuneConfig,
    "from_scratch": FromScratchConfig,
    "hnet_from_scratch": HnetFromScratchConfig,
    "joint": JointConfig,
}


def find_own(path: str) -> Choice | None:
    """Find the settings of a user's method: the class `Config` of what an import path names.

    Raises:
        ConfigError: it cannot be imported, is no method, or its `Config` cannot be used.
    """
    if not plugins.is_import_path(path):
        return None
    kind = plugins.load(path)
    base = sys.modules.get("hcl.methods.base")  # not imported here: every method imports it
    if base is None or not (isinstance(kind, type) and issubclass(kind, base.Method)):
        raise ConfigError(f"{path} is no method; make it a class derived from hcl.methods.Method")
    if lacking := sorted(getattr(kind, "__abstractmethods__", ())):
        names = ", ".join(lacking)
        raise ConfigError(f"{path} has no {names}; help(hcl.methods.Method) says what they do")
    config: Any = getattr(kind, "Config", None)
    if problem := _problem_of(config):
        raise ConfigError(f"{path}: {problem}")
    return config, {"name": path}


def _problem_of(config: Any) -> str:
    """Say why a class cannot be a method's settings; empty if it can."""
    if not (isinstance(config, type) and issubclass(config, MethodConfig)):
        return "it has no settings; give it a class Config(hcl.config.methods.MethodConfig)"
    if "__dataclass_fields__" not in vars(config):
        return "its Config is no dataclass; write @dataclass(frozen=True) above it"
    if not isinstance(getattr(config, "LABEL", None), str):
        return "its Config has no name for tables; add LABEL: ClassVar[str] = ..."
    hints = typing.get_type_hints(config)
    wrong = [f for f in fields(config) if not _is_settable(hints[f.name])]
    return "".join(
        f"its Config has {field.name} of type {hints[field.name]}; use bool, int, float, str,"
        " Literal of words, or tuple[TYPE, ...]"
        for field in wrong[:1]
    )


def _is_settable(hint: Any) -> bool:
    """Tell whether a YAML file can give a setting of this type."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return all(part is type(None) or _is_settable(part) for part in parts)
    if origin is Literal:
        return all(isinstance(part, str) for part in parts)
    if origin is tuple:
        return len(parts) == 2 and parts[1] is ... and _is_settable(parts[0])
    return hint in (bool, int, float, str)


GROUP = Group(
    choices={name: (kind, {"name": name}) for name, kind in METHOD_CONFIGS.items()},
    default="hnet",
    selector="name",
    noun="method",
    find_own=find_own,
)
