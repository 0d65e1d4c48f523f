"""A sweep's best configurations, trained on seeds that did not choose them.

The best of many values is partly luck. Fresh seeds on the same split of the data give the number
to report, beside the value that selected.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import optuna
from rich.console import Console

from hcl.config import ConfigError, TrialConfig
from hcl.results import Result
from sweeps.launch.databases import check_study
from sweeps.launch.fixed_trials import train_fixed
from sweeps.launch.outcome import best_trials
from sweeps.launch.request import SweepRequest
from sweeps.output.metric_names import heading, scale_of, short_headings, short_value
from sweeps.output.table import Entry, Estimate, Table
from sweeps.records.folder import SweepFolder
from sweeps.records.redact import HIDDEN, redact_url
from sweeps.reports.summary import summarise
from sweeps.space.search_space import SearchSpace, load
from sweeps.study.storage import open_storage
from sweeps.tracking import prepare
from sweeps.tracking.store import with_driver
from sweeps.tracking.sweep_run import close_sweep
from sweeps.workers.seed_records import Seed, read_result, single_seed


@dataclass(frozen=True)
class Chosen:
    """A configuration that the search found.

    Attributes:
        number: number of its trial.
        values: what the search measured, one value for each objective.
        params: searched values, as Optuna stores them.
    """

    number: int
    values: tuple[float, ...]
    params: dict[str, Any]


def read_space(folder: SweepFolder) -> SearchSpace:
    """Read the search space of a sweep, as launched.

    Raises:
        ConfigError: there is no such sweep.
    """
    if not folder.space_file.exists():
        raise ConfigError(f"there is no sweep {folder.name!r} in {folder.storage} to confirm")
    return load(folder.space_file)


def check_seeds(space: SearchSpace, seeds: Sequence[int]) -> None:
    """Refuse seeds that the search used, or that come twice.

    Raises:
        ConfigError: names them.
    """
    used = sorted(set(seeds) & set(space.sweep.seeds))
    if used:
        raise ConfigError(
            f"--seeds: the search used {', '.join(map(str, used))}, which would confirm its luck;"
            " give others, e.g. --seeds 101..105"
        )
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"--seeds: must be different numbers >= 0 but got {list(seeds)}")


def searched_in(folder: SweepFolder, url: str | None) -> str:
    """Return the URL of the study that a sweep searched.

    Args:
        folder: the sweep's.
        url: the user's; None = what sweep.json says, else the file in the folder.

    Raises:
        ConfigError: sweep.json names a database whose password must be given again.
    """
    recorded = folder.read_info().get("study_url")
    if url is None and recorded and HIDDEN in recorded:
        raise ConfigError(
            f"the study is in {recorded}; give its --study-url, passwords are not kept"
        )
    return with_driver(url or recorded or folder.study_url)


def best_of(folder: SweepFolder, space: SearchSpace, top: int, url: str) -> list[Chosen]:
    """Return the `top` best configurations by the search, among trials that learned all tasks.

    Args:
        folder: the sweep's.
        space: its search space.
        top: how many; with several objectives, how many of the Pareto front.
        url: the study's database.

    Raises:
        ConfigError: the study cannot be read, or no trial is complete.
    """
    check_study(url, must_exist=True)
    try:
        study = optuna.load_study(study_name=folder.name, storage=open_storage(url))
    except KeyError:
        raise ConfigError(
            f"there is no study {folder.name!r} in {redact_url(url)}; give the --study-url it was"
            " searched with"
        ) from None
    chosen: dict[str, Chosen] = {}
    for trial in best_trials(study, space.sweep.modes):
        config = space.trial_config(trial.params, seed=0).digest(without_seed=True)
        chosen.setdefault(config, Chosen(trial.number, tuple(trial.values), trial.params))
    if not chosen:
        raise ConfigError(f"no trial of sweep {folder.name!r} has learned all its tasks yet")
    return list(chosen.values())[:top]


def count_done(request: SweepRequest, chosen: Sequence[Chosen], seeds: Sequence[int]) -> int:
    """Count the trainings that have a result.

    Raises:
        ConfigError: a result is damaged, or another configuration's.
    """
    trainings = _trainings(request, chosen, seeds)
    return sum(read_result(seed.folder, seed.config) is not None for seed in trainings)


def _trainings(
    request: SweepRequest, chosen: Sequence[Chosen], seeds: Sequence[int]
) -> list[Seed]:
    return [
        single_seed(request.space.trial_config(one.params, seed), request.folder)
        for one in chosen
        for seed in seeds
    ]


def confirm(
    request: SweepRequest, chosen: Sequence[Chosen], seeds: Sequence[int], console: Console
) -> tuple[Table, int]:
    """Train what is missing; return the table, and how many trainings failed.

    Args:
        request: the sweep's.
        chosen: configurations, best first.
        seeds: fresh seeds, each of which trains every configuration.
        console: where progress goes.
    """
    space, folder, store = request.space, request.folder, request.store
    prepare(store)
    parent = folder.read_info().get("parent_run_id")
    context = request.context("confirm", parent)
    trainings = _trainings(request, chosen, seeds)
    results = train_fixed(folder, trainings, context, request.settings, console, request.address)
    if parent is not None:
        summarise(folder, store)
        with suppress(ConfigError):  # during an outage; `hcl sync` sends it later
            close_sweep(folder, store, parent)
    rows = []
    for rank, one in enumerate(chosen, start=1):
        mine = [r for r in results[(rank - 1) * len(seeds) : rank * len(seeds)] if r]
        rows.append(_row(rank, one, space, mine))
    failed = sum(result is None for result in results)
    notes = ["mean ± SEM (n seeds); n = 1 has no SEM", "ranked by the search; tests rank nothing"]
    notes += [f"left out: {failed} runs that failed, see their journals"] if failed else []
    title = f"Best of {folder.name} on seeds {', '.join(map(str, seeds))}"
    return Table(title, _columns(space), tuple(rows), tuple(notes)), failed


def _columns(space: SearchSpace) -> tuple[str, ...]:
    names = space.sweep.objectives
    columns = ["rank", "trial"]
    columns += [f"{heading(name)}, fresh seeds" for name in (*names, *_tested(space.example()))]
    columns += [f"{heading(name)}, search" for name in names]
    return (*columns, *short_headings(list(space.parameters)).values())


def _row(
    rank: int, one: Chosen, space: SearchSpace, results: Sequence[Result]
) -> tuple[Entry, ...]:
    names = space.sweep.objectives
    row: list[Entry] = [str(rank), str(one.number)]
    for name in (*names, *_tested(space.example())):
        values = [scale_of(name) * result.metrics[name] for result in results]
        row.append(Estimate.of(values) if values else None)
    for name, value in zip(names, one.values, strict=True):
        row.append(Estimate(scale_of(name) * value, None, len(space.sweep.seeds)))
    settings = [
        short_value(one.params[key]) if key in one.params else "" for key in space.parameters
    ]
    return (*row, *settings)


def _tested(config: TrialConfig) -> list[str]:
    return [f"test/{scenario}/average_accuracy" for scenario in config.eval_scenarios]
