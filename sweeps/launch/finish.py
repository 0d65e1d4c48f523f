"""The end of a sweep: what is left is delivered, its runs are closed, and how it went is said."""

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from hcl.config import ConfigError
from sweeps.launch.outcome import Outcome, finished_trials
from sweeps.records.trial_ends import note_death, note_stop
from sweeps.tracking import deliver_all
from sweeps.tracking.sweep_run import FRONT, close_sweep

if TYPE_CHECKING:
    from sweeps.launch.request import SweepRequest
    from sweeps.study.searcher import OptunaSearch


def end(
    request: "SweepRequest", search: "OptunaSearch", parent_run_id: str, interrupted: bool
) -> Outcome:
    """Deliver what is left, close the sweep's runs, say how it went."""
    folder, store = request.folder, request.store
    ended = finished_trials(search)
    for number, reason in ended["failed"].items():
        note_death(folder, number, reason)
    for number in ended["stopped"]:
        note_stop(folder, number)
    status = "KILLED" if interrupted else "FINISHED"
    undelivered = deliver_all(store, folder.journals(), parent_run_id).count(False)
    best, failed, stopped = ended["best"], ended["failed"], len(ended["stopped"])
    refused = len(ended["refused"])
    done = ended["done"]
    num_trials = len(done) + stopped + refused + len(failed)
    outcome = Outcome(status, best, failed, num_trials, undelivered, stopped, refused)
    metrics = {"trials_done": float(len(done)), "trials_failed": float(len(failed))}
    metrics |= {"trials_stopped_early": float(stopped)} if stopped else {}
    metrics |= {"trials_refused": float(refused)} if refused else {}
    if best and len(request.space.sweep.modes) > 1:
        _draw_front(request, done, [trial["number"] for trial in best])
    elif best:
        metrics["best_objective"] = best[0]["value"]
    folder.write_info(status=status, metrics=metrics)
    with suppress(ConfigError):  # an outage at the end: `hcl sync` does it then
        close_sweep(folder, store, parent_run_id)
    if not failed and not interrupted:
        shutil.rmtree(folder.path / "ray", ignore_errors=True)  # kept where it may explain
    return outcome


def _draw_front(
    request: "SweepRequest", values: dict[int, tuple[float, ...]], front: list[int]
) -> None:
    from sweeps.output.plots import pareto_front, png

    picture = png(pareto_front(values, front, request.space.sweep.objectives))
    (request.folder.path / FRONT).write_bytes(picture)
