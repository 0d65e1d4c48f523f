"""The classifier that HNET+TIR shares with HNET: trained by one trial, taken by the other.

HNET+TIR is HNET and, trained beside it, a replay model and a network that infers tasks. None of
these reaches the classifier, and each draws from random streams of its own, so at equal seeds and
settings both methods' classifiers are the same, bit for bit (on the CPU, at equal threads).

Torch-free until a state is read or written.
"""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from hcl.config import SPEED_ONLY, TrialConfig
from hcl.config.methods import HnetConfig

GIVES, TAKES = "hnet", "hnet_tir"


def classifier_digest(config: TrialConfig) -> str | None:
    """16 hex characters, equal for trials whose classifiers are; None where none is shared.

    Only what is known to be independent of the rest is shared: in a network with dropout both
    would draw from one stream.
    """
    method = config.method
    if config.method_name not in (GIVES, TAKES) or config.target.network != "mlp":
        return None
    if config.train.plateau_patience:  # each watches its own predictions
        return None
    if not isinstance(method, HnetConfig) or method.generate != "all" or method.chunk_groups:
        return None
    flat = config.to_dict()
    mine = {f"method/{field.name}" for field in fields(HnetConfig)}
    kept = {
        key: value
        for key, value in flat.items()
        if key.split("/")[0] in ("benchmark", "target", "train", "seed") or key in mine
        if key not in SPEED_ONLY
    }
    kept["has_one_head"] = config.scenario == "domain"  # CL1 and CL3 are trained alike
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


class SharedClassifier:
    """A classifier's state after each task, in files that appear whole or not at all.

    Args:
        folder: of all shared classifiers.
        config: of the trial that gives or takes it.
        data_digest: of its data.
    """

    def __init__(self, folder: Path, config: TrialConfig, data_digest: str) -> None:
        self.folder = folder / f"{classifier_digest(config)}-{data_digest}"

    def has(self, task_id: int) -> bool:
        """Whether the state after this task is there."""
        from hcl.storage import checkpoint

        return checkpoint.exists(self.folder, task_id)

    def give(self, task_id: int, state: dict[str, Any]) -> None:
        """Keep the state after a task, unless it is there."""
        from hcl.storage import checkpoint

        if not self.has(task_id):
            checkpoint.save(self.folder, task_id, state, keep=None)

    def take(self, task_id: int) -> dict[str, Any]:
        """The state after a task.

        Raises:
            ConfigError: it is not there, or damaged.
        """
        from hcl.storage import checkpoint

        return checkpoint.load(self.folder, task_id)
