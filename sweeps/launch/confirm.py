"""The best configurations of a sweep on seeds that did not choose them.

The best of many values is partly luck. Fresh seeds, same split of the data: what they give is the
number to report, beside the one that selected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hcl.config import ConfigError, TrialConfig
from hcl.results import Result
from sweeps.cluster.resources import gpus
from sweeps.launch.fixed_trials import run_cells
from sweeps.launch.preflight import check_study
from sweeps.output.table import Cell, Estimate, Table
from sweeps.records.folder import SweepFolder, git_tags
from sweeps.space.search_space import SearchSpace, load
from sweeps.tracking import Store, prepare, redact
from sweeps.workers.seed import Place

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Chosen:
    """A configuration that the search found.

    Attributes:
        number: of its trial.
        values: that the search gave it, one for each objective.
        params: as Optuna keeps them.
    """

    number: int
    values: tuple[float, ...]
    params: dict[str, Any]


def read_space(folder: SweepFolder) -> SearchSpace:
    """The search space of a sweep, as launched.

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


def best_of(folder: SweepFolder, space: SearchSpace, top: int, url: str | None) -> list[Chosen]:
    """The `top` configurations by the value of the search, of trials that learned all tasks.

    Args:
        folder: of the sweep.
        space: its search space.
        top: how many; of several objectives, of the Pareto front.
        url: of the study; None = where sweep.json says.

    Raises:
        ConfigError: the study cannot be read, or no trial is complete.
    """
    import optuna

    from sweeps.launch.outcome import best_trials
    from sweeps.study.storage import open_storage

    known = folder.read_info().get("study_url")
    if url is None and known and "***" in known:
        raise ConfigError(f"the study is in {known}; give its --study-url, passwords are not kept")
    url = url or known or folder.study_url
    check_study(url, must_exist=True)
    try:
        study = optuna.load_study(study_name=folder.name, storage=open_storage(url))
    except KeyError:
        raise ConfigError(
            f"there is no study {folder.name!r} in {redact(url)}; give the --study-url it was"
            " searched with"
        ) from None
    chosen: dict[str, Chosen] = {}
    for trial in best_trials(study, space.sweep.modes):
        config = space.trial_config(trial.params, seed=0).digest(without_seed=True)
        chosen.setdefault(config, Chosen(trial.number, tuple(trial.values), trial.params))
    if not chosen:
        raise ConfigError(f"no trial of sweep {folder.name!r} has learned all its tasks yet")
    return list(chosen.values())[:top]


def confirm(
    folder: SweepFolder,
    space: SearchSpace,
    chosen: Sequence[Chosen],
    seeds: Sequence[int],
    store: Store,
    console: "Console",
    address: str | None = None,
    data_root: str | None = None,
) -> tuple[Table, int]:
    """Train what is missing; the table, and how many runs failed."""
    configs = [space.trial_config(one.params, seed) for one in chosen for seed in seeds]
    prepare(store)
    place = _place(folder, space, store, data_root)
    results = run_cells(configs, folder, place, console, address, space.sweep)
    rows = []
    for rank, one in enumerate(chosen, start=1):
        mine = [r for r in results[(rank - 1) * len(seeds) : rank * len(seeds)] if r]
        rows.append(_row(rank, one, space, mine))
    names = space.sweep.objectives
    columns = ["rank", "trial", "configuration"]
    columns += [f"{_heading(name)}, search" for name in names]
    columns += [f"{_heading(name)}, fresh seeds" for name in (*names, *_tested(configs[0]))]
    notes = ["mean ± SEM (n seeds); n = 1 has no SEM", "ranked by the search; tests rank nothing"]
    failed = sum(result is None for result in results)
    notes += [f"left out: {failed} runs that failed, see their journals"] if failed else []
    title = f"Best of {folder.name} on seeds {', '.join(map(str, seeds))}"
    return Table(title, tuple(columns), tuple(rows), tuple(notes)), failed


def _place(folder: SweepFolder, space: SearchSpace, store: Store, data_root: str | None) -> Place:
    sweep = space.sweep
    return Place(
        folder.name,
        store,
        parent_run_id=folder.read_info().get("parent_run_id"),
        tags=git_tags(),
        phase="confirm",
        device="cuda" if gpus(sweep) else "cpu",
        gpu_share=gpus(sweep),
        threads=sweep.cpus_per_trial,
        data_root=data_root,
        checkpoint_every=sweep.checkpoint_every,
    )


def _row(
    rank: int, one: Chosen, space: SearchSpace, results: Sequence[Result]
) -> tuple[Cell, ...]:
    names = space.sweep.objectives
    spelled = " ".join(f"{key}={_short(value)}" for key, value in one.params.items())
    row: list[Cell] = [str(rank), str(one.number), spelled]
    for name, value in zip(names, one.values, strict=True):
        row.append(Estimate(_scale(name) * value, None, len(space.sweep.seeds)))
    for name in (*names, *_tested(space.example())):
        values = [_scale(name) * result.metrics[name] for result in results]
        row.append(Estimate.of(values) if values else None)
    return tuple(row)


def _tested(config: TrialConfig) -> list[str]:
    return [f"test/{scenario}/average_accuracy" for scenario in config.eval_scenarios]


def _heading(name: str) -> str:
    from sweeps.output.metric_names import heading

    return heading(name)


def _scale(name: str) -> int:
    from sweeps.output.metric_names import is_fraction

    return 100 if is_fraction(name) else 1


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
