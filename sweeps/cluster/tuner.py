"""The one call of Ray Tune, shared by sweeps and fixed trials."""

import time
from collections.abc import Callable
from typing import Any

from ray import tune

from sweeps.cluster.progress import ProgressCallback
from sweeps.cluster.resources import needs
from sweeps.cluster.watchdog import Watchdog
from sweeps.records.folder import SweepFolder
from sweeps.space.settings import SweepSettings


def run_trials(
    trainable: Callable[[dict[str, Any]], None],
    settings: SweepSettings,
    folder: SweepFolder,
    progress: ProgressCallback,
    on_lost: Callable[[str], None],
    param_space: dict[str, Any] | None = None,
    **choice: Any,
) -> None:
    """Run every trial; return when all have ended or were interrupted.

    Args:
        trainable: what a trial does.
        settings: resources and retries of each.
        folder: the sweep's, in which Ray keeps its own state; no later start reads it.
        progress: shows every event; closed at the end.
        on_lost: ends this process when Ray cannot go on, see Watchdog.
        param_space: values of the trials, where no search algorithm gives them.
        choice: arguments of `tune.TuneConfig`: who chooses trials, how many, how many at a time.
    """
    tuner = tune.Tuner(
        tune.with_resources(trainable, needs(settings)),
        param_space=param_space,
        tune_config=tune.TuneConfig(reuse_actors=True, **choice),
        run_config=tune.RunConfig(
            name=f"{time.time():.0f}",  # a new one for each start
            storage_path=str(folder.path / "ray"),
            failure_config=tune.FailureConfig(max_failures=settings.max_failures),
            callbacks=[progress],
            verbose=0,
        ),
    )
    try:
        with Watchdog(on_lost):
            tuner.fit()
    finally:
        progress.close()
