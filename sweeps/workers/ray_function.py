"""The function that Ray runs for each trial, made so that its worker starts quickly."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from ray import cloudpickle, tune

from hcl.config import plugins
from sweeps.workers.warm_imports import importing

Plan = TypeVar("Plan")
Report = Callable[[dict[str, Any]], None]


def ray_function(
    train: Callable[[Plan, dict[str, Any], Report], None], plan: Plan, code: Path | None
) -> Callable[[dict[str, Any]], None]:
    """Make the trainable that calls `train(plan, choice, tune.report)` for each trial.

    Both are unpacked by the worker inside `importing`, so that what they import (torch, MLflow)
    takes a quarter less time than while Ray loads the trainable. They are not put into Ray's
    object store: a driver with objects there is ended by Ray, without a word, ten seconds after
    its node process has died.

    Args:
        train: function at the top of a module.
        plan: what all trials share.
        code: folder that workers import users' own code from, on storage that all nodes share.
    """
    packed, folders = cloudpickle.dumps((train, plan)), plugins.file_folders()

    def trainable(choice: dict[str, Any]) -> None:
        its_train, its_plan = _unpack(packed, code)
        plugins.look_in(folders)
        its_train(its_plan, choice, tune.report)

    return trainable


@cache
def _unpack(packed: bytes, code: Path | None) -> Any:
    """Unpack once per process: Ray reuses it for further trials."""
    if code is not None:
        plugins.use(code)
    with importing():
        return cloudpickle.loads(packed)
