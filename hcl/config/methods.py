"""Settings of every method, torch-free so that search spaces are validated without torch.

`SCENARIOS` says where a method can be trained; `ALSO_SCORES` which other scenarios the same
training can be scored in (nobody trains twice).
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hcl.config.schema import Group, setting

ScenarioName = Literal["task", "domain", "class"]
ALL: tuple[str, ...] = ("task", "domain", "class")


@dataclass(frozen=True)
class MethodConfig:
    """What every method's settings share."""

    SCENARIOS: ClassVar[tuple[str, ...]] = ALL
    ALSO_SCORES: ClassVar[dict[str, tuple[str, ...]]] = {}
    WHY_NOT: ClassVar[str] = ""
    REGRESSION: ClassVar[bool] = False  # can learn numbers, not only classes
    INFERS_TASK: ClassVar[bool] = False  # says which task an input is from, where it is not given
    BATCH_NORM: ClassVar[tuple[str, ...]] = ("per_task", "shared")  # ways to keep its statistics
    REPLICAS: ClassVar[bool] = False  # can train several seeds as a batch

    def no_replicas(self) -> str:
        """Why several seeds cannot be trained as a batch; empty where they can."""
        return "" if self.REPLICAS else "trains one seed at a time"

    def check(self, num_tasks: int) -> list[str]:
        """Problems that concern several settings at once, `key: sentence` each."""
        return []


@dataclass(frozen=True)
class HypernetConfig(MethodConfig):
    """A task-conditioned hypernetwork and its output regularizer.

    Defaults: the classifier of split MNIST in the authors' code (PAPER.md, section 3).
    """

    beta: float = setting(0.01, ge=0)  # strength of the output regularizer
    embedding_size: int = setting(96, ge=1)  # numbers per task embedding
    chunk_embedding_size: int = setting(96, ge=1)  # numbers per chunk embedding
    chunk_size: int = setting(42000, ge=0)  # weights per chunk; 0 = all at once (full hypernet)
    hidden_sizes: tuple[int, ...] = setting((10, 10), ge=1)  # of the hypernet; [] = linear
    activation: Literal["relu", "elu", "sigmoid"] = "relu"  # of the hypernet
    # Regularize at theta + candidate step: not at all, with the step as a constant, or
    # differentiating through it.
    lookahead: Literal["off", "detached", "full"] = "detached"
    reg_tasks: int = setting(0, ge=0)  # random past tasks regularized per step; 0 = all
    # Of the regularizer's matrix products alone. bfloat16 is up to twice as fast where a processor
    # has it, and adds errors of percents to the regularizer's gradient, more where past tasks'
    # weights have hardly changed.
    reg_precision: Literal["float32", "bfloat16"] = setting("float32", added_later=True)
    # Of the hypernet's layers: Xavier-uniform without biases, or torch's own.
    init: Literal["xavier", "torch"] = setting("xavier", added_later=True)


@dataclass(frozen=True)
class HnetConfig(HypernetConfig):
    """Task-conditioned hypernetwork with output regularizer (von Oswald et al., 2020).

    With task identity not given, the task is the one of lowest predictive entropy (HNET+ENT).
    """

    # One head per task in both, and the loss sees the current head only: same training.
    ALSO_SCORES: ClassVar[dict[str, tuple[str, ...]]] = {"task": ("class",), "class": ("task",)}
    REGRESSION: ClassVar[bool] = True
    INFERS_TASK: ClassVar[bool] = True
    REPLICAS: ClassVar[bool] = True

    mask_heads: bool = False  # leave out, for a past task, the weights of other tasks' heads
    # What the hypernet makes: "all" weights of the target, those whose parameter names match a
    # regular expression, or "lora(RANK)", low-rank changes of its matrices. Always the last layer.
    generate: str = setting("all", added_later=True)
    # The other weights are the same for all tasks: learned with the first task, or never.
    shared: Literal["once", "fixed"] = setting("once", added_later=True)
    # Parameters with a hypernet and a chunk size of their own: "REGEX=CHUNK_SIZE" each.
    chunk_groups: tuple[str, ...] = setting((), added_later=True)

    def no_replicas(self) -> str:
        if self.REPLICAS and self.lookahead == "full":
            return "with lookahead full trains one seed at a time"
        if self.REPLICAS and (self.generate != "all" or self.chunk_groups):
            return "with generate or chunk_groups trains one seed at a time"
        return super().no_replicas()

    def check(self, num_tasks: int) -> list[str]:
        errors = super().check(num_tasks) + _check_pattern("generate", self.generate)
        if self.generate.startswith("lora(") and not lora_rank(self.generate):
            errors.append(
                f"generate: must be all, lora(RANK) with a rank of 1 or more, or a regular"
                f" expression but got {self.generate!r}"
            )
        for group in self.chunk_groups:
            pattern, found, size = group.rpartition("=")
            if not (found and size.isdigit()):
                errors.append(f"chunk_groups: {group!r} must be REGEX=CHUNK_SIZE, as layer4=20000")
            errors += _check_pattern("chunk_groups", pattern)
        if self.chunk_groups and self.lookahead == "full":
            errors.append(
                "chunk_groups: cannot differentiate through the lookahead; set"
                " lookahead to detached"
            )
        return errors

    def groups(self) -> list[tuple[str, int]]:
        """`chunk_groups` as (regular expression, chunk size)."""
        split = [group.rpartition("=") for group in self.chunk_groups]
        return [(pattern, int(size)) for pattern, _, size in split]


def lora_rank(generate: str) -> int:
    """The rank in `lora(RANK)`; 0 for anything else."""
    found = re.fullmatch(r"lora\((\d{1,6})\)", generate)
    return int(found.group(1)) if found else 0


def _check_pattern(key: str, pattern: str) -> list[str]:
    try:
        re.compile(pattern)
    except re.error as error:
        return [f"{key}: {pattern!r} is no regular expression ({error})"]
    return []


@dataclass(frozen=True)
class HnetVaeConfig(MethodConfig):
    """A VAE whose decoder a hypernetwork generates. Defaults: HNET+R on split MNIST."""

    encoder_sizes: tuple[int, ...] = setting((400, 400), ge=1)  # hidden layers, ordinary network
    decoder_sizes: tuple[int, ...] = setting((250, 350), ge=1)  # hidden layers, generated
    latent_size: int = setting(100, ge=1)
    condition_size: int = setting(100, ge=0)  # one-hot task input of the decoder; 0 = none
    current_share: float = setting(0.5, ge=0, le=1)  # of the loss, the rest is on replay
    decoder_beta: float = setting(0.01, ge=0)  # output regularizer of the decoder's hypernet
    decoder_embedding_size: int = setting(96, ge=1)
    decoder_chunk_embedding_size: int = setting(96, ge=1)
    decoder_chunk_size: int = setting(50000, ge=0)
    decoder_hypernet_sizes: tuple[int, ...] = setting((10, 10), ge=1)
    decoder_activation: Literal["relu", "elu", "sigmoid"] = "elu"
    decoder_reg_tasks: int = setting(0, ge=0)  # random past tasks regularized per step; 0 = all

    def decoder_hypernet(self) -> HypernetConfig:
        """The settings of the decoder's hypernetwork."""
        return HypernetConfig(
            beta=self.decoder_beta,
            embedding_size=self.decoder_embedding_size,
            chunk_embedding_size=self.decoder_chunk_embedding_size,
            chunk_size=self.decoder_chunk_size,
            hidden_sizes=self.decoder_hypernet_sizes,
            activation=self.decoder_activation,
            reg_tasks=self.decoder_reg_tasks,
        )

    def check(self, num_tasks: int) -> list[str]:
        errors = super().check(num_tasks)
        if 0 < self.condition_size < num_tasks:
            errors.append(
                f"condition_size: must be 0 or at least the {num_tasks} tasks"
                f" but got {self.condition_size}"
            )
        return errors


@dataclass(frozen=True)
class HnetRConfig(HnetVaeConfig):
    """HNET+R: an ordinary classifier, replay from a protected decoder."""


@dataclass(frozen=True)
class HnetTirConfig(HnetVaeConfig, HnetConfig):
    """HNET+TIR: hypernetwork classifier, task inferred by a network trained with replay."""

    REGRESSION: ClassVar[bool] = False
    REPLICAS: ClassVar[bool] = False
    SCENARIOS: ClassVar[tuple[str, ...]] = ("domain", "class")
    ALSO_SCORES: ClassVar[dict[str, tuple[str, ...]]] = {"class": ("task",)}
    WHY_NOT: ClassVar[str] = "with the task given there is nothing to infer: it is hnet"

    decoder_sizes: tuple[int, ...] = setting((50, 150), ge=1)


@dataclass(frozen=True)
class DgrConfig(MethodConfig):
    """Deep generative replay with an ordinary VAE. Defaults: split MNIST."""

    encoder_sizes: tuple[int, ...] = setting((400, 400), ge=1)
    decoder_sizes: tuple[int, ...] = setting((400, 400), ge=1)
    latent_size: int = setting(100, ge=1)


@dataclass(frozen=True)
class DgrDistillConfig(DgrConfig):
    """DGR with soft targets."""


@dataclass(frozen=True)
class LwfConfig(MethodConfig):
    """Learning without forgetting."""


@dataclass(frozen=True)
class ErConfig(MethodConfig):
    """Experience replay from a reservoir."""

    buffer_size: int = setting(1000, ge=1)  # samples, over all tasks


@dataclass(frozen=True)
class FinetuneConfig(MethodConfig):
    """One network trained on one task after the other, nothing protected ("None")."""

    REGRESSION: ClassVar[bool] = True


@dataclass(frozen=True)
class FromScratchConfig(MethodConfig):
    """A new network for every task: the reference without transfer or forgetting."""

    SCENARIOS: ClassVar[tuple[str, ...]] = ("task",)
    REGRESSION: ClassVar[bool] = True
    WHY_NOT: ClassVar[str] = "it has one network per task and cannot tell which one to use"
    BATCH_NORM: ClassVar[tuple[str, ...]] = ("per_task",)


@dataclass(frozen=True)
class JointConfig(MethodConfig):
    """Trained on the data of all tasks so far ("offline"): the upper reference."""

    BATCH_NORM: ClassVar[tuple[str, ...]] = ("shared",)  # a batch is of many tasks


@dataclass(frozen=True)
class SiConfig(MethodConfig):
    """Synaptic intelligence (Zenke et al., 2017). Default c: split MNIST, task scenario."""

    c: float = setting(50.0, ge=0)  # strength
    damping: float = setting(0.1, gt=0)  # xi of eq. 5, avoids division by zero


@dataclass(frozen=True)
class EwcConfig(MethodConfig):
    """Elastic weight consolidation (Kirkpatrick et al., 2017), one quadratic term per task."""

    ewc_lambda: float = setting(1e7, ge=0)
    fisher_samples: int = setting(0, ge=0)  # training samples in the Fisher; 0 = all
    # Label of the log-likelihood whose gradient is squared: the network's own choice (van de Ven
    # & Tolias), drawn from its output, the true one ("empirical"), or the exact expectation.
    fisher_labels: Literal["predicted", "sampled", "true", "expected"] = "predicted"


@dataclass(frozen=True)
class OnlineEwcConfig(EwcConfig):
    """Online EWC (Schwarz et al., 2018): one running Fisher, decayed by gamma per task."""

    ewc_lambda: float = setting(1e8, ge=0)
    gamma: float = setting(0.8, ge=0, le=1)


METHOD_CONFIGS: dict[str, type[MethodConfig]] = {
    "hnet": HnetConfig,
    "hnet_r": HnetRConfig,
    "hnet_tir": HnetTirConfig,
    "si": SiConfig,
    "ewc": EwcConfig,
    "online_ewc": OnlineEwcConfig,
    "dgr": DgrConfig,
    "dgr_distill": DgrDistillConfig,
    "lwf": LwfConfig,
    "er": ErConfig,
    "finetune": FinetuneConfig,
    "from_scratch": FromScratchConfig,
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
