"""Settings of hypernetworks, and of the methods built on them (torch-free)."""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from hcl.config.method_base import MethodConfig
from hcl.config.schema import setting


@dataclass(frozen=True)
class HypernetConfig:
    """A task-conditioned hypernetwork and its output regularizer.

    Defaults: the classifier of split MNIST in the code of von Oswald et al.
    """

    beta: float = setting(0.01, ge=0)  # strength of the output regularizer
    embedding_size: int = setting(96, ge=1)  # numbers per task embedding
    chunk_embedding_size: int = setting(96, ge=1)  # numbers per chunk embedding
    chunk_size: int = setting(42000, ge=0)  # weights per chunk; 0 = all at once (full hypernet)
    hidden_sizes: tuple[int, ...] = setting((10, 10), ge=1)  # hidden layers; [] = linear
    activation: Literal["relu", "elu", "sigmoid"] = "relu"  # after each hidden layer
    # The regularizer looks at the parameters that Adam's step on the task loss would lead to. The
    # step is a constant ("detached"), is differentiated through ("full"), or left out ("off").
    lookahead: Literal["off", "detached", "full"] = "detached"
    reg_tasks: int = setting(0, ge=0)  # random past tasks regularized per step; 0 = all
    # The regularizer's matrix products alone. bfloat16 is up to twice as fast where a processor
    # has it, and adds errors of percents to the regularizer's gradient, larger ones where past
    # tasks' weights have hardly changed.
    reg_precision: Literal["float32", "bfloat16"] = setting("float32", added_later=True)
    # Initial layers: Xavier-uniform with biases of 0; the same with an own range for each tensor
    # that a full hypernet generates, as the authors have it; such that generated weights have the
    # variance that suits the target, and low-rank changes are small (hcl/hypernets/initial.py); or
    # torch's own.
    init: Literal["xavier", "xavier_per_tensor", "hyperfan", "torch"] = setting(
        "xavier", added_later=True
    )
    # Standard deviation of task embeddings at the start; chunk embeddings have 1.
    embedding_std: float = setting(1.0, gt=0, added_later=True)


@dataclass(frozen=True)
class HnetConfig(HypernetConfig, MethodConfig):
    """Task-conditioned hypernetwork with output regularizer (von Oswald et al., 2020).

    Where the task is not given, it is the one of lowest predictive entropy (HNET+ENT), or what
    another rule says (`inference`).
    """

    LABEL: ClassVar[str] = "HNET"
    # Both have one head per task, and the loss sees the current head alone: the same training.
    ALSO_SCORES: ClassVar[dict[str, tuple[str, ...]]] = {"task": ("class",), "class": ("task",)}
    REGRESSION: ClassVar[bool] = True
    INFERS_TASK: ClassVar[bool] = True
    REPLICAS: ClassVar[bool] = True
    CHOOSES_RULE: ClassVar[bool] = True  # `inference` decides something

    mask_heads: bool = False  # leave out, for a past task, the weights of other tasks' heads
    # The hypernet makes "all" weights of the target, those whose parameter names match a regular
    # expression, or "lora(RANK)", low-rank changes of its matrices; and always the last layer.
    generate: str = setting("all", added_later=True)
    # The other weights are the same for all tasks: learned with the first task, or never.
    shared: Literal["once", "fixed"] = setting("once", added_later=True)
    # Parameters with a hypernet and a chunk size of their own: "REGEX=CHUNK_SIZE" each.
    chunk_groups: tuple[str, ...] = setting((), added_later=True)
    # The task of an input, where it is not given, is that whose network has the lowest entropy
    # (HNET+ENT), the largest logit, the largest gap between two logits in units of that task's own
    # gaps, or the largest part in making a mixture of all networks surer (SupSup). Training is
    # the same; "gap_zscore" also notes each task's gaps at its end.
    inference: Literal["entropy", "max_logit", "gap_zscore", "entropy_gradient"] = setting(
        "entropy", added_later=True
    )

    @classmethod
    def label(cls, scenario: str) -> str:
        return cls.LABEL if scenario == "task" else f"{cls.LABEL}+ENT"

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
        if self.inference != "entropy" and not self.CHOOSES_RULE:
            errors.append(f"inference: {self.name} has no choice of it; leave it out")
        return errors + self._check_init()

    def _check_init(self) -> list[str]:
        """Refuse initial values that these hypernetworks cannot have."""
        if self.init == "xavier_per_tensor" and self.chunk_size:
            return [
                "init: xavier_per_tensor is for a full hypernet, because chunks share one output"
                " layer; set chunk_size to 0, or init to xavier"
            ]
        if self.init != "hyperfan":
            return []
        if self.chunk_size and self.hidden_sizes and self.activation == "sigmoid":
            return [
                "init: hyperfan cannot tell chunks apart behind sigmoid units, whose size hardly"
                " depends on the chunk's embedding; use relu or elu, or set chunk_size to 0"
            ]
        return []

    def groups(self) -> list[tuple[str, int]]:
        """Split `chunk_groups` into (regular expression, chunk size)."""
        split = [group.rpartition("=") for group in self.chunk_groups]
        return [(pattern, int(size)) for pattern, _, size in split]


@dataclass(frozen=True)
class HnetFromScratchConfig(HnetConfig):
    """A new hypernetwork for every task, the paper's reference without transfer or forgetting."""

    LABEL: ClassVar[str] = "HNET from scratch"
    SCENARIOS: ClassVar[tuple[str, ...]] = ("task",)
    WHY_NOT: ClassVar[str] = "it is a reference for tasks that are given"
    ALSO_SCORES: ClassVar[dict[str, tuple[str, ...]]] = {}
    INFERS_TASK: ClassVar[bool] = False
    REPLICAS: ClassVar[bool] = False
    CHOOSES_RULE: ClassVar[bool] = False
    BATCH_NORM: ClassVar[tuple[str, ...]] = ("per_task",)

    beta: float = setting(0.0, ge=0, le=0)  # a new hypernetwork has no past task to keep

    def check(self, num_tasks: int) -> list[str]:
        errors = super().check(num_tasks)
        if self.generate != "all":
            errors.append(
                "generate: no task shares weights with another one, each begins from scratch; set"
                " it to all"
            )
        return errors


@dataclass(frozen=True)
class PrBbbConfig(HnetConfig):
    """Posterior meta-replay by Bayes by backprop (Henning et al., 2021): Gaussian weights."""

    LABEL: ClassVar[str] = "PR-BbB"
    REGRESSION: ClassVar[bool] = False
    REPLICAS: ClassVar[bool] = False
    CHOOSES_RULE: ClassVar[bool] = False

    # Weight of the divergence from the prior, for all training samples of a task together.
    kl_scale: float = setting(1e-6, ge=0)
    prior_variance: float = setting(1.0, gt=0)  # of each weight; the prior's mean is 0
    train_samples: int = setting(1, ge=1)  # networks drawn per step
    predict_samples: int = setting(10, ge=1)  # networks whose predictions are averaged

    @classmethod
    def label(cls, scenario: str) -> str:
        return cls.LABEL

    def check(self, num_tasks: int) -> list[str]:
        errors = super().check(num_tasks)
        for key, only in (("generate", "all"), ("chunk_groups", ()), ("mask_heads", False)):
            if getattr(self, key) != only:
                errors.append(f"{key}: {self.name} has no such choice; leave it out")
        if self.init not in ("xavier", "torch"):
            errors.append(f"init: {self.name} starts from xavier or torch but got {self.init}")
        return errors


@dataclass(frozen=True)
class HnetVaeConfig(MethodConfig):
    """A VAE whose decoder a hypernetwork generates. Defaults: HNET+R on split MNIST."""

    encoder_sizes: tuple[int, ...] = setting((400, 400), ge=1)  # hidden layers, ordinary network
    decoder_sizes: tuple[int, ...] = setting((250, 350), ge=1)  # hidden layers, generated
    latent_size: int = setting(100, ge=1)  # numbers in the VAE's code
    condition_size: int = setting(100, ge=0)  # one-hot task input of the decoder; 0 = none
    current_share: float = setting(0.5, ge=0, le=1)  # current data in the loss; rest: replay
    decoder_beta: float = setting(0.01, ge=0)  # output regularizer of the decoder's hypernet
    decoder_embedding_size: int = setting(96, ge=1)  # numbers per task embedding
    decoder_chunk_embedding_size: int = setting(96, ge=1)  # numbers per chunk embedding
    decoder_chunk_size: int = setting(50000, ge=0)  # weights per chunk; 0 = all at once
    decoder_hypernet_sizes: tuple[int, ...] = setting((10, 10), ge=1)  # its hidden layers
    decoder_activation: Literal["relu", "elu", "sigmoid"] = "elu"  # after each of these
    decoder_reg_tasks: int = setting(0, ge=0)  # random past tasks regularized per step; 0 = all

    def decoder_hypernet(self) -> HypernetConfig:
        """Return the settings of the decoder's hypernetwork."""
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

    LABEL: ClassVar[str] = "HNET+R"

    # The soft targets' cross-entropy on replayed images: summed over classes, as the authors do,
    # or averaged over them too.
    distillation: Literal["sum", "mean_over_classes"] = setting("sum", added_later=True)


@dataclass(frozen=True)
class HnetTirConfig(HnetVaeConfig, HnetConfig):
    """HNET+TIR: hypernetwork classifier, task inferred by a network trained with replay."""

    LABEL: ClassVar[str] = "HNET+TIR"
    REGRESSION: ClassVar[bool] = False
    REPLICAS: ClassVar[bool] = False
    CHOOSES_RULE: ClassVar[bool] = False
    SCENARIOS: ClassVar[tuple[str, ...]] = ("domain", "class")
    ALSO_SCORES: ClassVar[dict[str, tuple[str, ...]]] = {"class": ("task",)}
    WHY_NOT: ClassVar[str] = "with the task given there is nothing to infer: it is hnet"

    decoder_sizes: tuple[int, ...] = setting((50, 150), ge=1)

    @classmethod
    def label(cls, scenario: str) -> str:
        return cls.LABEL


def lora_rank(generate: str) -> int:
    """Return the rank in `lora(RANK)`; 0 for anything else."""
    found = re.fullmatch(r"lora\((\d{1,6})\)", generate)
    return int(found.group(1)) if found else 0


def _check_pattern(key: str, pattern: str) -> list[str]:
    """Return the problem with a regular expression, if there is one, as `key: sentence`."""
    try:
        re.compile(pattern)
    except re.error as error:
        return [f"{key}: {pattern!r} is no regular expression ({error})"]
    return []
