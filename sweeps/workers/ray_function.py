"""The function that Ray runs for each trial, made so that its worker starts quickly."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray import tune

from hcl.config import plugins
from sweeps.workers.warm_imports import importing

Plan = TypeVar("Plan")
Report = Callable[[dict[str, Any]], None]


def ray_function(
    train: Callable[[Plan, dict[str, Any], Report], None], plan: Plan, code: Path | None
) -> Callable[[dict[str, Any]], None]:
    """Make the trainable that calls `train(plan, choice, tune.report)` for each trial.

    Both wait in Ray's object store: a worker fetches them inside `importing`, so that what they
    import (torch, MLflow) takes a quarter less time than while Ray loads the trainable.

    Args:
        train: function at the top of a module.
        plan: what all trials share.
        code: folder that workers import users' own code from, on storage that all nodes share.
    """
    stored = ray.put((train, plan))

    def trainable(choice: dict[str, Any]) -> None:
        fetched_train, fetched_plan = _fetch(stored, code)
        fetched_train(fetched_plan, choice, tune.report)

    return trainable


@cache
def _fetch(stored: ray.ObjectRef, code: Path | None) -> Any:
    """Fetch once per process: Ray reuses it for further trials."""
    if code is not None:
        plugins.use(code)
    with importing():
        return ray.get(stored)
