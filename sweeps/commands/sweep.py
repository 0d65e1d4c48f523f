"""`hcl sweep`: search hyperparameters."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcl.config import ConfigError
from sweeps.commands.options import (
    STORAGE,
    Address,
    Changes,
    DataRoot,
    Plugin,
    ShipCode,
    Storage,
    StudyUrl,
    TrackingUri,
    command_line,
    complete_files,
    console,
    parse_changes,
    parse_gpus,
    parse_seeds,
    say,
    storage_option,
    use_plugins,
)
from sweeps.commands.stop_after import StopAfter, limited
from sweeps.output.metric_names import describe_metric, short_value
from sweeps.output.terminal import listed, terminal_width
from sweeps.records.folder import SweepFolder
from sweeps.records.redact import redact_command
from sweeps.space.bundled import find_file
from sweeps.space.search_space import SearchSpace, load, parse
from sweeps.space.sections import overridden
from sweeps.space.yaml_file import load_yaml
from sweeps.workers.warm_imports import importing

if TYPE_CHECKING:
    from sweeps.launch.outcome import Outcome
    from sweeps.launch.request import SweepRequest

SHOWN = 5  # best configurations in the final table
WARM = 3  # configurations that a warm start takes over

File = Annotated[
    Path,
    typer.Argument(
        help="Search space: a file, or the name of a bundled one (hcl files).",
        autocompletion=complete_files,
    ),
]
NumTrials = Annotated[
    int | None, typer.Option(help="Trials of the whole sweep, earlier starts included.")
]
Seeds = Annotated[
    str | None, typer.Option(help="Seeds trained in every trial, e.g. 1,2,3 or 1..3.")
]
MaxConcurrent = Annotated[int | None, typer.Option(help="Trials at a time; 0 = as many as fit.")]
Cpus = Annotated[int | None, typer.Option(help="CPU cores, and threads of torch, for each trial.")]
Gpus = Annotated[
    str | None, typer.Option(help="GPUs, a share such as 0.25, or auto to measure and pack.")
]
Memory = Annotated[float | None, typer.Option(help="GiB of memory set aside for each trial.")]
MaxFailures = Annotated[
    int | None, typer.Option(help="Retries of a trial whose process or node died.")
]
Name = Annotated[
    str | None, typer.Option(show_default="the file's name", help="Name of the sweep.")
]
WarmStart = Annotated[
    str | None, typer.Option(metavar="SWEEP", help="Try the best of an earlier sweep first.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Resume a sweep that exists, or stop.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, show the first trials, stop.")
]


def sweep(
    context: typer.Context,
    file: File,
    change: Changes = None,
    warm_start: WarmStart = None,
    num_trials: NumTrials = None,
    seeds: Seeds = None,
    max_concurrent: MaxConcurrent = None,
    cpus_per_trial: Cpus = None,
    gpus_per_trial: Gpus = None,
    memory_per_trial: Memory = None,
    max_failures: MaxFailures = None,
    name: Name = None,
    stop_after: StopAfter = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    address: Address = None,
    ship_code: ShipCode = False,
    plugin: Plugin = None,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
    study_url: StudyUrl = None,
    data_root: DataRoot = None,
) -> None:
    """Search hyperparameters: Ray Tune runs the trials, Optuna chooses, MLflow records.

    Started again with the same name it goes on where it stopped, whether it was interrupted
    (Ctrl-C) or killed, or gets more trials.

    \b
    Examples:
      hcl sweep split_digits-hnet --num-trials 4
      hcl sweep split_mnist-hnet --seeds 1,2,3 --name mnist3
      hcl sweep split_mnist-hnet --seeds 1,2,3 --name mnist3 --num-trials 40
      hcl sweep split_mnist-hnet --set train/iterations=500 --warm-start split_digits-hnet
      hcl sweep my_space.yaml --address auto --storage /shared/hcl \\
          --tracking-uri http://mlflow:5000

    \b
    Exit status: 0 all trials ended well, 1 some failed, 2 something to correct, 3 Ray itself
    died, 4 the time of --stop-after is over (after 3 and 4 the same command goes on), 130
    interrupted.
    """
    use_plugins(context, plugin, file)
    path = find_file(file, "search space")
    space = read_space(path, parse_changes(change)).with_sweep(
        num_trials=num_trials,
        seeds=parse_seeds(seeds),
        max_concurrent_trials=max_concurrent,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=parse_gpus(gpus_per_trial),
        memory_per_trial=memory_per_trial,
        max_failures=max_failures,
    )
    folder = SweepFolder(storage, space.name if name is None else name)
    if resume and not folder.space_file.exists():
        raise ConfigError(f"there is no sweep {folder.name!r} in {folder.storage} to resume")
    if warm_start is not None:
        space = _warm_started(space, folder, SweepFolder(storage, warm_start))
    from sweeps.launch.request import SweepRequest

    request = SweepRequest(
        space, folder, address, tracking_uri, study_url, data_root, command_line(), ship_code
    )
    if dry_run:
        _check_and_show(request)
    else:
        with limited(stop_after):
            _run(request)


def read_space(path: Path, changes: dict[str, Any]) -> SearchSpace:
    """Read a search space, with the changes of the command line.

    Raises:
        ConfigError: every mistake in it.
    """
    if not changes:
        return load(path)
    return parse(overridden(load_yaml(path), changes), name=path.stem)


def _warm_started(space: SearchSpace, folder: SweepFolder, earlier: SweepFolder) -> SearchSpace:
    """Let the sweep try the best configurations of an earlier one first, and say what is left out.

    A sweep that goes on keeps the points that it began with.
    """
    if folder.space_file.exists():
        return replace(space, points=load(folder.space_file).points)
    from sweeps.launch import confirm

    its = confirm.read_space(earlier)
    best = confirm.best_of(earlier, its, WARM, confirm.searched_in(earlier, None))
    found = [{key: its.parameters[key].load(v) for key, v in one.params.items()} for one in best]
    started, notes = space.with_points(found)
    count = len(started.points) - len(space.points)
    say(f"warm start: the best {count} configurations of {earlier.name} are tried first")
    for note in notes:
        say(f"  {note}")
    return started


def _run(request: "SweepRequest") -> None:
    with importing():
        from sweeps.launch.run_sweep import run_sweep

    outcome = run_sweep(request, console())
    show_outcome(request.folder, request.space, outcome)
    raise typer.Exit(outcome.exit_code)


def _check_and_show(request: "SweepRequest") -> None:
    from sweeps.launch.run_sweep import checked

    with checked(request, say) as (request, _):
        _show_plan(request.space, request.folder)


def show_outcome(folder: SweepFolder, space: SearchSpace, outcome: "Outcome") -> None:
    """Print the best configurations, what failed, and what to do next."""
    if outcome.best:
        _show_best(space, outcome)
    storage = storage_option(folder)
    if outcome.undelivered:
        say(
            f"MLflow did not take {outcome.undelivered} runs yet; nothing is lost:"
            f" hcl sync {folder.name}{storage}"
        )
    if folder.page.exists():
        say(f"matrices, curves, all runs: {folder.page}")
    name = f"{folder.name}{storage}"
    say(f"compare the runs: hcl ui {name}    tables: hcl report {name}")
    for number, reason in outcome.failed.items():
        say(f"trial {number} failed: {reason}")
    ended = f"{outcome.num_trials} of {space.sweep.num_trials} trials ended"
    if outcome.status == "KILLED":
        why = "the time of --stop-after is over" if outcome.is_time_up else "interrupted"
        say(f"{why}, {ended}; go on with: {_resume_command()}")
        return
    apart = [f"{outcome.stopped} of them stopped early"] if outcome.stopped else []
    if outcome.refused:
        apart.append(f"{outcome.refused} of them refused, above sweep.max_compression_ratio")
    apart += [f"{len(outcome.failed)} of them failed"] if outcome.failed else []
    say(", ".join([ended, *apart]))


def _show_best(space: SearchSpace, outcome: "Outcome") -> None:
    names = space.sweep.objectives
    say(f"{'best' if len(names) == 1 else 'Pareto front'} by {', '.join(names)}:")
    for trial in outcome.best[:SHOWN]:
        # In the file's order, not the database's; without what was not searched.
        keys = [key for key in space.parameters if key in trial["params"]]
        values = [f"{key} {short_value(trial['params'][key])}" for key in keys]
        pairs = zip(names, trial["values"], strict=True)
        reached = ", ".join(describe_metric(name, value) for name, value in pairs)
        say(f"  trial {trial['number']}: {reached}")
        for line in listed(values, terminal_width(), "    "):
            say(line)


def _show_plan(space: SearchSpace, folder: SweepFolder) -> None:
    """Print what would be run: the points that are tried first, and the ranges."""
    sweep, config = space.sweep, space.example()
    kept = "exists, would go on" if folder.space_file.exists() else "new"
    say(f"sweep {folder.name} ({kept}) in {folder.path}")
    say(f"{config.method_name} on {config.benchmark.name}, {config.scenario} scenario")
    say(f"{sweep.num_trials} trials of seeds {', '.join(map(str, sweep.seeds))}")
    for mode, objective in zip(sweep.modes, sweep.objectives, strict=True):
        say(f"objective: {mode} {objective}, sampler {sweep.sampler}")
    for index, point in enumerate(space.points[: sweep.num_trials]):
        values = ", ".join(f"{key} {short_value(value)}" for key, value in point.items())
        say(f"trial {index} is given: {values}")
    for key, parameter in space.parameters.items():
        when = space.conditions.describe(key)
        say(f"{key}: {parameter.describe()}" + (f" when {when}" if when else ""))


def _resume_command() -> str:
    is_said = "--resume" in sys.argv
    return redact_command(["hcl", *sys.argv[1:], *([] if is_said else ["--resume"])])
