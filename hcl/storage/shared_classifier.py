"""Classifiers that HNET and HNET+TIR share: trained by one trial, taken over by the other.

HNET+TIR is HNET with a replay model and a network that infers tasks, trained beside it. Neither
touches the classifier, and each draws from random streams of its own. At equal seeds and settings
both methods' classifiers are therefore the same, bit for bit (on the CPU, with equal threads).
"""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from hcl.config import SPEED_ONLY, TrialConfig
from hcl.config.methods import HnetConfig
from hcl.storage import checkpoint

GIVES, TAKES = "hnet", "hnet_tir"


def classifier_digest(config: TrialConfig) -> str | None:
    """Name the classifier of a trial with 16 hex characters; None where it cannot be shared.

    Trials whose classifiers are equal have equal names. Networks with dropout are not shared:
    there both methods would draw from one random stream.
    """
    method = config.method
    if config.method_name not in (GIVES, TAKES) or config.target.network != "mlp":
        return None
    if config.train.plateau_patience:  # each method watches its own predictions
        return None
    if not isinstance(method, HnetConfig) or method.generate != "all" or method.chunk_groups:
        return None
    flat = config.to_dict()
    # Both methods train the classifier alike: all of its settings count but the method's name.
    mine = {f"method/{field.name}" for field in fields(HnetConfig)} - {
        "method/name",
        "method/inference",
    }
    kept = {
        key: value
        for key, value in flat.items()
        if key.split("/")[0] in ("benchmark", "target", "train", "seed") or key in mine
        if key not in SPEED_ONLY
    }
    kept["has_one_head"] = (
        config.scenario == "domain"
    )  # the task and class scenarios are trained alike
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


class SharedClassifier:
    """States of a classifier after each task, in files that are whole or not there.

    Args:
        folder: the folder of all shared classifiers.
        config: the trial that gives or takes the classifier.
        data_digest: digest of the trial's data.
    """

    def __init__(self, folder: Path, config: TrialConfig, data_digest: str) -> None:
        self.folder = folder / f"{classifier_digest(config)}-{data_digest}"

    def has(self, task_id: int) -> bool:
        """Say if the state after this task is there."""
        return checkpoint.exists(self.folder, task_id)

    def give(self, task_id: int, state: dict[str, Any]) -> None:
        """Store the state after a task, unless it is there."""
        if not self.has(task_id):
            checkpoint.save(self.folder, task_id, state, keep=None)

    def take(self, task_id: int) -> dict[str, Any]:
        """Read the state after a task.

        Raises:
            ConfigError: it is not there, or damaged.
        """
        return checkpoint.load(self.folder, task_id)
