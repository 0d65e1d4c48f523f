"""Settings of methods that keep true samples (torch-free)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from hcl.config.method_base import MethodConfig
from hcl.config.schema import setting


@dataclass(frozen=True)
class BufferConfig(MethodConfig):
    """A buffer of true samples."""

    buffer_size: int = setting(1000, ge=1)  # samples, over all tasks


@dataclass(frozen=True)
class ErConfig(BufferConfig):
    """Experience replay from a buffer that is filled when a task is over."""

    LABEL: ClassVar[str] = "ER"

    # A uniform sample of all training data; or as many samples of every class, at random or those
    # whose mean feature is near the class's.
    keep: Literal["reservoir", "per_class", "herding"] = setting("reservoir", added_later=True)


@dataclass(frozen=True)
class AGemConfig(ErConfig):
    """A-GEM (Chaudhry et al., 2019): no step that raises the loss on kept samples."""

    LABEL: ClassVar[str] = "A-GEM"


@dataclass(frozen=True)
class ErAceConfig(BufferConfig):
    """ER-ACE (Caccia et al., 2022): new samples compete with their own task's classes alone."""

    LABEL: ClassVar[str] = "ER-ACE"


@dataclass(frozen=True)
class DerConfig(BufferConfig):
    """Dark experience replay (Buzzega et al., 2020): kept samples keep their logits."""

    LABEL: ClassVar[str] = "DER"

    der_alpha: float = setting(1.0, ge=0)  # weight of the distance to kept logits


@dataclass(frozen=True)
class DerPlusConfig(DerConfig):
    """DER++ (Buzzega et al., 2020): DER, and the labels of kept samples."""

    LABEL: ClassVar[str] = "DER++"

    der_beta: float = setting(0.5, ge=0)  # weight of the labels' cross-entropy


@dataclass(frozen=True)
class IcarlConfig(BufferConfig):
    """iCaRL (Rebuffi et al., 2017): the nearest mean of exemplars chosen by herding."""

    LABEL: ClassVar[str] = "iCaRL"
    SCENARIOS: ClassVar[tuple[str, ...]] = ("class",)
    WHY_NOT: ClassVar[str] = "it tells the classes of all tasks apart"
    BATCH_NORM: ClassVar[tuple[str, ...]] = ("shared",)

    buffer_size: int = setting(2000, ge=1)  # samples, over all tasks
    # What the old network's outputs are divided by before they become targets: 1 in the paper, 2
    # in van de Ven & Tolias' code (encoder.py, KD_temp).
    temperature: float = setting(1.0, gt=0, added_later=True)
