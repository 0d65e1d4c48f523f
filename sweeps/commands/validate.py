"""`hcl validate`: check search spaces, tables, studies, trials; estimate what they need."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from hcl.config import ConfigError, TrialConfig, flatten, plugins
from sweeps.commands.options import DataRoot, Plugin, say, use_plugins
from sweeps.comparison.plan import Training, expected_trainings, make_plan
from sweeps.comparison.study_file import load_study
from sweeps.reproduction.table_file import load_table
from sweeps.space.bundled import FOLDERS, find_file
from sweeps.space.search_space import load
from sweeps.space.yaml_file import load_yaml

Files = Annotated[
    list[Path],
    typer.Argument(help="Search spaces, tables, studies, trials: files, folders, bundled names."),
]
Estimate = Annotated[
    bool, typer.Option("--estimate", help="Also estimate memory, steps per second and hours.")
]
Device = Annotated[str, typer.Option(help="Where --estimate times steps: cpu, cuda.")]


def validate(
    context: typer.Context,
    files: Files,
    estimate: Estimate = False,
    device: Device = "cpu",
    plugin: Plugin = None,
    data_root: DataRoot = None,
) -> None:
    """Check search spaces, tables, studies and trials, and show every mistake of each.

    \b
    Examples:
      hcl validate my_space.yaml
      hcl validate FOLDER
      hcl validate --estimate permuted_mnist

    \b
    Exit status: 0 all are valid, 2 some are not.
    """
    use_plugins(context, plugin)
    found = [path for file in files for path in _yaml_files(file)]
    wrong = 0
    for path in found:
        with plugins.importable(path.absolute().parent):
            is_valid = _is_valid(path, data_root)
            wrong += not is_valid
            if estimate and is_valid:
                _show_estimate(path, device, data_root)
    if wrong:
        say(f"not valid: {wrong} of {len(found)} files", stderr=True)
        raise typer.Exit(2)


def _is_valid(path: Path, data_root: str | None) -> bool:
    """Say what a file holds, or what is to correct in it."""
    try:
        say(f"{path}: ok, {_about(path, data_root)}")
    except ConfigError as error:
        say(f"{path}: {len(error.errors)} to correct")
        for message in error.errors:
            say(f"  {message.removeprefix(f'{path}: ')}")
        return False
    return True


def _yaml_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [find_file(path, *FOLDERS)]
    found = sorted(path.rglob("*.yaml"))
    if not found:
        raise ConfigError(f"there is no .yaml file in {path}")
    return found


def _about(path: Path, data_root: str | None) -> str:
    """Say what a valid search space, table, study or trial file holds.

    Files of weights that networks start from and a user's own data are read; data sets that might
    have to be downloaded are not.

    Raises:
        ConfigError: it is not valid.
    """
    document = load_yaml(path)
    if _is_trial(document):
        config = TrialConfig.from_dict(flatten(document))
        _check_files([config], data_root)
        return f"a trial, {config.method_name} on {config.benchmark.name}"
    if "rows" in document:
        table = load_table(str(path))
        _check_files([cell.config for cell in table.cells], data_root)
        return f"a table of {len(table.cells)} cells, {len(table.trainings([1]))} trainings a seed"
    if "methods" in document:
        return _about_study(path)
    space = load(path)
    _check_files(space.examples_of_data(), data_root)
    config = space.example()
    what = f"{config.method_name} on {config.benchmark.name}, {config.scenario} scenario"
    return f"{what}, {len(space.parameters)} searched, {len(space.points)} given"


def _about_study(path: Path) -> str:
    spec = load_study(path)
    parts = make_plan(spec)
    sweeps, pairs = {part.space.name for part in parts}, len(parts) * spec.confirmation.pairs
    return (
        f"a study of {len(spec.methods)} methods, protocol {spec.protocol}: {len(sweeps)} searches"
        f" of {spec.effort}, {pairs} trainings on fresh seeds"
    )


def _check_files(configs: Iterable[TrialConfig], data_root: str | None) -> None:
    """Read each file of given weights, and a user's own data, once.

    Raises:
        ConfigError: names all that cannot be used.
    """
    errors: list[str] = []
    for check in {key: check for config in configs for key, check in _reads(config)}.values():
        try:
            check(data_root)
        except ConfigError as error:
            errors += error.errors
    if errors:
        raise ConfigError(errors)


def _reads(config: TrialConfig) -> Iterator[tuple[Hashable, Callable[[str | None], object]]]:
    """Yield what reads each of a trial's files, with what tells one file from another."""
    benchmark, weights = config.benchmark, config.target.weights
    if weights:
        from hcl.networks.given_weights import check_weights  # imports torch

        yield weights, partial(check_weights, config)
    if benchmark.has_local_data:
        from hcl import Runtime
        from hcl.training.trial_state import load_benchmark  # imports torch

        plain = replace(config, target=replace(config.target, weights=""))
        yield benchmark, lambda root: load_benchmark(plain, Runtime(data_root=root))


def _is_trial(document: Mapping[str, Any]) -> bool:
    """Tell whether a file holds one trial's settings: `benchmark: ...`, `method/beta: 1`."""
    groups = {str(key).split("/")[0] for key in document}
    return bool(groups & {"benchmark", "method", "target", "train"})


def _show_estimate(path: Path, device: str, data_root: str | None) -> None:
    """Print what the trainings of a valid file would need.

    Raises:
        ConfigError: its data are missing, or the device is not there.
    """
    from hcl import Runtime
    from hcl.training.process import check_device
    from sweeps.cluster import cost
    from sweeps.output.terminal import as_text

    document = load_yaml(path)
    threads, notes = 1, []
    if "rows" in document:
        named = list(_trainings_of_table(path))
    elif "methods" in document:
        spec = load_study(path)
        parts = make_plan(spec)
        named = list(expected_trainings(spec, parts, [part.space.name for part in parts]))
    elif _is_trial(document):
        named = [(path.stem, TrialConfig.from_dict(flatten(document)), 1)]
    else:
        threads = load(path).sweep.cpus_per_trial
        named = list(_trainings_of_space(path))
        notes = [
            "what Optuna will choose is not known: the trials are shared evenly between these"
        ]
    check_device(device)
    runtime = Runtime(device=device, threads=threads, data_root=data_root)
    needs = cost.measure(cost.group(named), runtime)
    say(as_text(cost.table(f"{path.name}, estimated", needs, device, notes)))


def _trainings_of_table(path: Path) -> Iterator[Training]:
    """Yield every training once, for each seed of the table."""
    spec = load_table(str(path))
    first: dict[str, tuple[str, TrialConfig]] = {}
    for cell in spec.cells:
        first.setdefault(cell.config.digest(), (f"{cell.row} {cell.column}", cell.config))
    for name, config in first.values():
        yield name, config, spec.head.seeds


def _trainings_of_space(path: Path) -> Iterator[Training]:
    """Yield both ends of the ranges and the points given, sharing the sweep's trials evenly.

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
