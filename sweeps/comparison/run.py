"""A study from start to end: its sweeps, the confirmation of each best configuration.

It is no driver of its own. Every part is a sweep or a set of fixed trainings, each of which goes
on where it stopped; a part that has finished is read and not run again.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import optuna
from optuna.trial import TrialState
from rich.console import Console

from hcl.config import ConfigError, TrialConfig
from hcl.results import Result
from sweeps.cluster.connection import announce, connected, started
from sweeps.cluster.tuner import TimeIsUp
from sweeps.comparison.plan import Part
from sweeps.comparison.study_file import StudySpec
from sweeps.launch.confirm import Chosen, best_of
from sweeps.launch.fixed_trials import train_fixed
from sweeps.launch.preflight import check_data, check_records, check_start
from sweeps.launch.request import SweepRequest, make_context, store_of
from sweeps.launch.resume import find_study_url
from sweeps.launch.run_sweep import run_sweep
from sweeps.output.table import Table
from sweeps.records.folder import SweepFolder
from sweeps.records.trial_ends import spent_seconds
from sweeps.reports.summary import parent_run
from sweeps.space.search_space import SearchSpace
from sweeps.space.yaml_file import load_yaml
from sweeps.study.storage import open_storage
from sweeps.study.study import check_same_search
from sweeps.tracking import Store
from sweeps.workers.seed_records import Seed, read_result, single_seed


@dataclass(frozen=True)
class StudyRequest:
    """A study that a user asked for.

    Attributes:
        spec: its file.
        parts: its plan.
        folder: where its confirmations are recorded; its sweeps have folders beside it.
        address: address of a Ray cluster; None = this machine.
        tracking_uri: MLflow server or database; None = a file in the storage folder.
        data_root: folder of the data sets.
        command: how a person asked for it.
        ship_code: whether this code is sent to the cluster's workers.
    """

    spec: StudySpec
    parts: tuple[Part, ...]
    folder: SweepFolder
    address: str | None = None
    tracking_uri: str | None = None
    data_root: str | None = None
    command: str = ""
    ship_code: bool = False

    @property
    def store(self) -> Store:
        """The MLflow store of all its runs."""
        return store_of(self.folder, self.tracking_uri)

    @property
    def tags(self) -> dict[str, str]:
        """Tags of all its runs."""
        return {"study": self.folder.name, "protocol": str(self.spec.protocol)}

    def sweeps(self) -> dict[str, SweepRequest]:
        """Make the request of every sweep, by its name; parts that tune alike share one."""
        return {part.space.name: self._sweep(part.space) for part in self.parts}

    def _sweep(self, space: SearchSpace) -> SweepRequest:
        folder = SweepFolder(self.folder.storage, space.name)
        return SweepRequest(space, folder, self.address, self.tracking_uri, None, self.data_root,
                            self.command, self.ship_code)  # fmt: skip


@dataclass(frozen=True)
class Spent:
    """Effort that a search took: how its trials ended, core-hours, settings searched."""

    done: int
    failed: int
    stopped: int
    hours: float
    settings: int

    @property
    def trials(self) -> int:
        """All trials that ended."""
        return self.done + self.failed + self.stopped


@dataclass(frozen=True)
class Outcome:
    """Outcome of a part.

    Attributes:
        part: of the plan.
        chosen: the best configuration of its search.
        spent: by the search.
        results: pair's seed -> result; failed trainings are missing.
    """

    part: Part
    chosen: Chosen
    spent: Spent
    results: dict[int, Result]

    def values(self) -> dict[int, float]:
        """Return the test accuracy of each pair in percent."""
        name = f"test/{self.part.scenario}/average_accuracy"
        return {seed: 100 * result.metrics[name] for seed, result in self.results.items()}

    @property
    def hours(self) -> float:
        """Core-hours of the confirmation."""
        cores = self.part.space.sweep.cpus_per_trial
        return cores * sum(r.metrics["wall_seconds"] for r in self.results.values()) / 3600


def check_study(request: StudyRequest) -> list[str]:
    """Make every check of a study's start that needs no Ray, and leave nothing.

    Returns:
        Names of the sweeps that are still to run.

    Raises:
        ConfigError: the first thing to mend.
    """
    check_records(request.folder, request.store)
    request.folder.check_free()
    for sweep in request.sweeps().values():
        url = find_study_url(sweep)
        check_start(sweep, url)
        check_same_search(sweep.space, sweep.folder.name, url)
        _check_owner(request, sweep.folder)
    check_data(_examples(request), request.data_root, must_fit=False)
    return [name for name, sweep in request.sweeps().items() if not is_finished(sweep)]


def _check_owner(request: StudyRequest, folder: SweepFolder) -> None:
    """Refuse a sweep of the same name that another study made, or a person by itself."""
    info = folder.read_info()
    if info and info.get("tags") != request.tags:
        raise ConfigError(
            f"there is a sweep {folder.name!r} already, which is not of study"
            f" {request.folder.name!r} under protocol {request.spec.protocol}; choose another"
            " --name"
        )


def _examples(request: StudyRequest) -> list[TrialConfig]:
    seed = request.spec.confirmation.first_seed
    return [part.confirmation(part.space.corners(0)[0], seed) for part in request.parts]


def is_finished(sweep: SweepRequest) -> bool:
    """Return whether a sweep of exactly these settings has run to its end."""
    folder = sweep.folder
    if folder.read_info().get("status") != "FINISHED" or not folder.space_file.exists():
        return False
    return load_yaml(folder.space_file) == sweep.space.to_dict()


def run_study(
    request: StudyRequest, console: Console, write: Callable[..., list[Table]]
) -> tuple[list[Outcome], list[Table]]:
    """Run what is left of a study.

    Args:
        request: the study.
        console: where progress goes.
        write: writes the verdict, which the study's MLflow run then gets.

    Returns:
        The outcome of every part, in the plan's order, and the tables of the verdict.

    Raises:
        ConfigError: the first thing to mend; before any training, unless a search found nothing.
        KeyboardInterrupt: interrupted; the same call goes on.
    """
    todo = check_study(request)
    with ExitStack() as held:
        held.enter_context(connected(request.address, request.ship_code))
        request.folder.write_info(tags=request.tags)
        run_id = held.enter_context(parent_run(request.folder, request.store, request.command))
        if request.address is None and (todo or missing_pairs(request)):
            announce(None, console)
            held.enter_context(started(None))  # one Ray for all parts
        for number, name in enumerate(todo, start=1):
            console.out(f"sweep {number} of {len(todo)}: {name}", highlight=False)
            _run_sweep(request.sweeps()[name], request, run_id, console)
        if seeds := missing_pairs(request):
            _confirm(request, seeds, run_id, console)
        outcomes = read_outcomes(request)
        return outcomes, write(request, outcomes)


def _run_sweep(sweep: SweepRequest, request: StudyRequest, run_id: str, console: Console) -> None:
    """Run a sweep as a part of the study: its runs stand in the study's MLflow experiment."""
    experiment = request.folder.name
    sweep.folder.write_info(experiment=experiment, study_run_id=run_id, tags=request.tags)
    outcome = run_sweep(sweep, console)
    if outcome.status == "KILLED":
        raise TimeIsUp if outcome.is_time_up else KeyboardInterrupt


def _confirm(request: StudyRequest, seeds: Sequence[Seed], run_id: str, console: Console) -> None:
    """Train the best configurations on pairs that have no result."""
    console.out(f"confirmation: {len(seeds)} trainings", highlight=False)
    settings = request.parts[0].space.sweep
    made = make_context(request.store, settings, "confirm", request.data_root, run_id)
    context = replace(made, tags={**made.tags, **request.tags})
    train_fixed(request.folder, seeds, context, settings, console, request.address)


def missing_pairs(request: StudyRequest) -> list[Seed]:
    """List the confirmations without a result, each training once, every part's first seed first.

    Raises:
        ConfigError: a search has found nothing.
    """
    chosen = [_choose(request, part) for part in request.parts]
    wanted = {}
    for seed in request.spec.confirmation.seeds:
        for part, best in zip(request.parts, chosen, strict=True):
            training = single_seed(part.confirmation(best.params, seed), request.folder)
            if read_result(training.folder, training.config) is None:
                wanted[training.folder] = training
    return list(wanted.values())


def read_outcomes(request: StudyRequest) -> list[Outcome]:
    """Read the outcome of every part, and train nothing.

    Raises:
        ConfigError: a search has found nothing yet.
    """
    return [_read_outcome(request, part) for part in request.parts]


def _read_outcome(request: StudyRequest, part: Part) -> Outcome:
    chosen, results = _choose(request, part), {}
    for seed in request.spec.confirmation.seeds:
        training = single_seed(part.confirmation(chosen.params, seed), request.folder)
        if (result := read_result(training.folder, training.config)) is not None:
            results[seed] = result
    return Outcome(part, chosen, _read_spent(request.sweeps()[part.space.name]), results)


def _choose(request: StudyRequest, part: Part) -> Chosen:
    """Choose the best configuration of a search, on validation data."""
    sweep = request.sweeps()[part.space.name]
    (chosen,) = best_of(sweep.folder, sweep.space, 1, find_study_url(sweep))
    return chosen


def _read_spent(sweep: SweepRequest) -> Spent:
    study = optuna.load_study(
        study_name=sweep.folder.name, storage=open_storage(find_study_url(sweep))
    )
    states = Counter(trial.state for trial in study.get_trials(deepcopy=False))
    hours = sweep.settings.cpus_per_trial * spent_seconds(sweep.folder) / 3600
    done, failed, stopped = (
        states[state] for state in (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)
    )
    return Spent(done, failed, stopped, hours, len(sweep.space.parameters))
