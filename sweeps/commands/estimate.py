"""`hcl validate --estimate`: what the trainings of a file would need."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hcl.config import TrialConfig, flatten
from sweeps.commands.options import absolute, say
from sweeps.search_space import load
from sweeps.yaml_file import load_yaml

Named = tuple[str, TrialConfig, int]  # name, configuration, trainings


def show_estimate(path: Path, device: str, data_root: Path | None) -> None:
    """Print the table of one valid file: a trial, a search space or a table of the paper.

    Raises:
        ConfigError: it is not valid, or its data are missing.
    """
    from hcl.process import check_device
    from hcl.trial import Runtime
    from sweeps import estimate

    document = load_yaml(path)
    threads, notes = 1, []
    if "rows" in document:
        named = list(_table(path))
    elif is_trial(document):
        named = [(path.stem, TrialConfig.from_dict(flatten(document)), 1)]
    else:
        threads = load(path).sweep.cpus_per_trial
        named = list(_search_space(path))
        notes = [
            "what Optuna will choose is not known: the trials are shared evenly between these"
        ]
    check_device(device)
    runtime = Runtime(device=device, threads=threads, data_root=absolute(data_root))
    needs = estimate.measure(estimate.group(named), runtime)
    say(estimate.table(f"{path.name}, estimated", needs, device, notes).terminal(width=170))


def is_trial(document: Mapping[str, Any]) -> bool:
    """Whether a file holds one trial's settings: `benchmark: ...`, `method/beta: 1`."""
    groups = {str(key).split("/")[0] for key in document}
    return bool(groups & {"benchmark", "method", "target", "train"})


def _table(path: Path) -> Iterator[Named]:
    """Every training once, for each seed of the table."""
    from sweeps.reproduction.spec import load_table

    spec = load_table(str(path))
    first: dict[str, tuple[str, TrialConfig]] = {}
    for cell in spec.cells:
        first.setdefault(cell.config.digest(), (f"{cell.row} {cell.column}", cell.config))
    for name, config in first.values():
        yield name, config, spec.head.seeds


def _search_space(path: Path) -> Iterator[Named]:
    """Both ends of the ranges and the points given, that share the sweep's trials evenly.

    What Optuna will choose is not known; the ends bound it.
    """
    space = load(path)
    seeds, seed = len(space.sweep.seeds), space.sweep.seeds[0]
    found = [("lower ends", params) for params in space.corners(0)]
    found += [("upper ends", params) for params in space.corners(-1)]
    found += [(f"point {i}", params) for i, params in enumerate(space.stored_points())]
    share, rest = divmod(space.sweep.num_trials, len(found))
    for i, (name, params) in enumerate(found):
        yield name, space.trial_config(params, seed), (share + (i < rest)) * seeds
