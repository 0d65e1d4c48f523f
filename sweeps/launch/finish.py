"""End of a sweep: deliver what is left, close its runs, summarise."""

import shutil
from contextlib import suppress
from pathlib import Path

from hcl.config import ConfigError
from sweeps.launch.mend import mend_journals
from sweeps.launch.outcome import Outcome, TrialEnds, trial_ends
from sweeps.launch.request import SweepRequest
from sweeps.records.disk_full import causes, is_full, no_space, release
from sweeps.records.trial_ends import note_death, note_stop
from sweeps.reports.summary import summarise
from sweeps.study.searcher import OptunaSearch
from sweeps.tracking import deliver_all
from sweeps.tracking.learners.logged import keep_learners
from sweeps.tracking.sweep_run import FRONT, close_sweep


def finish(
    request: SweepRequest, search: OptunaSearch, parent_run_id: str, interrupted: bool
) -> Outcome:
    """Write the ends that trials could not write, deliver, close the sweep's runs.

    Args:
        request: the sweep's.
        search: knows the study.
        parent_run_id: the sweep's own MLflow run.
        interrupted: whether trials are left to run.
    """
    folder, ends = request.folder, trial_ends(search)
    mend_journals(request, search, parent_run_id)
    # A process that was killed or stopped early could not write its journal's end.
    for number, reason in ends.failed.items():
        note_death(folder, number, reason)
    for number in ends.stopped:
        note_stop(folder, number)
    outcome = Outcome(
        status="KILLED" if interrupted else "FINISHED",
        best=ends.best,
        failed=ends.failed,
        num_trials=sum(map(len, (ends.done, ends.stopped, ends.refused, ends.failed))),
        undelivered=deliver_all(request.store, folder.journals(), parent_run_id).count(False),
        stopped=len(ends.stopped),
        refused=len(ends.refused),
    )
    if ends.best and len(request.settings.modes) > 1:
        _draw_front(request, ends)
    release(folder.path)
    kept = _kept_seeds(request, ends)
    folder.write_info(
        status=outcome.status,
        learners=[f"{path.parent.name}/{path.name}" for path in kept],
    )
    summarise(folder, request.store, _metrics(request, ends))
    if not interrupted:
        keep_learners(request.store, kept)
    with suppress(ConfigError):  # during an outage; `hcl sync` closes it later
        close_sweep(folder, request.store, parent_run_id)
    if not ends.failed and not interrupted:
        shutil.rmtree(folder.path / "ray", ignore_errors=True)  # kept where it may explain
    return outcome


def _kept_seeds(request: SweepRequest, ends: TrialEnds) -> list[Path]:
    """List the folders of the seeds whose learners MLflow is to have: sweep.log_models."""
    settings, best = request.settings, [trial["number"] for trial in ends.best]
    is_ranked = len(settings.modes) == 1
    numbers = {"none": [], "all": sorted(ends.done), "best": best[:1] if is_ranked else best}
    return [
        request.folder.seed_folder(number, seed)
        for number in numbers[settings.log_models]
        for seed in settings.seeds
    ]


def finish_without_space(request: SweepRequest, parent_run_id: str) -> None:
    """Close a sweep's runs on a full disk, in the space that its start reserved.

    What trials recorded is delivered by the next start, or by `hcl sync`.
    """
    release(request.folder.path)
    request.folder.write_info(status="KILLED")
    close_sweep(request.folder, request.store, parent_run_id)


def explain_error(request: SweepRequest, error: Exception) -> BaseException | None:
    """Return what ended a sweep where a person can mend it, without what Ray wraps it in."""
    if is_full(error):
        return ConfigError(
            f"{no_space(request.folder.path)}; nothing is lost: free some, then go on with the"
            " same command"
        )
    return next((cause for cause in causes(error) if isinstance(cause, ConfigError)), None)


def _metrics(request: SweepRequest, ends: TrialEnds) -> dict[str, float]:
    """Return the metrics of the sweep's own MLflow run."""
    metrics = {"trials_done": float(len(ends.done)), "trials_failed": float(len(ends.failed))}
    metrics |= {"trials_stopped_early": float(len(ends.stopped))} if ends.stopped else {}
    metrics |= {"trials_refused": float(len(ends.refused))} if ends.refused else {}
    if ends.best and len(request.settings.modes) == 1:
        metrics["best_objective"] = ends.best[0]["value"]
    return metrics


def _draw_front(request: SweepRequest, ends: TrialEnds) -> None:
    from sweeps.output.plots import pareto_front, png

    front = [trial["number"] for trial in ends.best]
    picture = png(pareto_front(ends.done, front, request.settings.objectives))
    (request.folder.path / FRONT).write_bytes(picture)
