"""`hcl run`: one configuration, without a search."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcl.config import ConfigError, TrialConfig, flatten
from hcl.config.plugins import is_import_path
from hcl.config.trial import imported_paths
from hcl.results import Progress, Result, config_of
from sweeps.commands.options import (
    STORAGE,
    Changes,
    DataRoot,
    DryRun,
    Plugin,
    Storage,
    TrackingUri,
    changed,
    command_line,
    complete_files,
    parse_seeds,
    say,
    use_plugins,
)
from sweeps.output.metric_names import describe_metric, is_fraction
from sweeps.output.table import Estimate, number
from sweeps.records.folder import SweepFolder
from sweeps.records.journal import Journal
from sweeps.records.record import ENDS
from sweeps.records.trial_ends import readable_records
from sweeps.space.bundled import find_file
from sweeps.space.settings import SweepSettings
from sweeps.space.yaml_file import load_yaml, read_text
from sweeps.workers.warm_imports import importing

if TYPE_CHECKING:
    from sweeps.tracking import Store
    from sweeps.workers.context import RunContext
    from sweeps.workers.seed_records import Seed

# Sections of a file that is no trial -> what it is, and the command that takes it.
OTHERS = {"search": ("search space", "sweep"), "sweep": ("search space", "sweep"),
          "rows": ("table of the paper", "reproduce")}  # fmt: skip
Config = Annotated[
    Path,
    typer.Argument(
        help="Settings of one trial: a .json or .yaml, or a bundled one (hcl files).",
        autocompletion=complete_files,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(show_default="the file's", help="Seeds to train, e.g. 1,2,3 or 1..3."),
]
Name = Annotated[str, typer.Option(help="Sweep and MLflow experiment that the runs belong to.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")]


def run(
    context: typer.Context,
    config: Config,
    change: Changes = None,
    seeds: Seeds = None,
    name: Name = "single",
    device: Device = "cpu",
    plugin: Plugin = None,
    dry_run: DryRun = False,
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
    data_root: DataRoot = None,
) -> None:
    """Train one configuration and record it in MLflow.

    The same configuration and seed is never trained twice: an interrupted training is resumed,
    and the result of a finished one is shown again.

    \b
    Examples:
      hcl run split_digits --seeds 1,2,3
      hcl run trial.json --set method/beta=0.1 --set 'method/hidden_sizes=[25, 25]' --seeds 1,2,3

    \b
    Exit status: 0 trained, 1 training failed, 2 something to correct, 130 interrupted.
    """
    use_plugins(context, plugin, config)
    values = changed(_read(find_file(config, "trial")), change)
    chosen = parse_seeds(seeds) or [values.get("seed", 1)]
    configs = [TrialConfig.from_dict({**values, "seed": seed}) for seed in chosen]
    _check_device(device)
    with importing():
        from sweeps.launch.request import GIVEN, make_context, store_of
        from sweeps.reports.summary import parent_run
        from sweeps.workers.seed_batch import group_seeds
        from sweeps.workers.seed_records import single_seed

    folder = SweepFolder(storage, name)
    store = store_of(folder, tracking_uri)
    trainings = [single_seed(one, folder) for one in configs]
    waiting = _check_start(trainings, folder, store, data_root)
    if dry_run:
        said = ", ".join(str(seed.config.seed) for seed in waiting) or "none"
        say(f"{configs[0].method_name} on {configs[0].benchmark.name}; seeds to train: {said}")
        return
    folder.keep_code(imported_paths(configs[0].to_dict()))
    with parent_run(folder, store, command_line()) as parent_run_id:
        shared = make_context(store, SweepSettings(), "single", data_root, parent_run_id)
        # The machine is this training's.
        tags = {**shared.tags, "protocol": GIVEN}
        shared = replace(shared, device=device, threads=None, tags=tags)
        ends = [end for group in group_seeds(trainings) for end in _train(group, shared)]
    results = [end for end in ends if end is not None]
    if len(results) > 1:
        _show_means(results)
    if len(results) < len(ends):
        raise typer.Exit(1)


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda") and not device.startswith("cuda:"):
        raise ConfigError(f"--device {device!r}: use cpu, cuda or cuda:NUMBER")
    if device != "cpu":
        from hcl.training.process import check_device

        check_device(device)


def _check_start(
    trainings: list["Seed"], folder: SweepFolder, store: "Store", data_root: str | None
) -> list["Seed"]:
    """Check everything that a user can mend, and leave nothing; return the seeds to train."""
    from sweeps.launch.preflight import check_data, check_records
    from sweeps.workers.seed_records import read_result

    check_records(folder, store)
    waiting = [one for one in trainings if read_result(one.folder, one.config) is None]
    check_data([seed.config for seed in waiting], data_root)
    return waiting


def _train(group: list["Seed"], context: "RunContext") -> list[Result | None]:
    """Train seeds and show their results, or why there is none."""
    from sweeps.workers.seed import TrialFailed
    from sweeps.workers.seed_batch import train_replicas

    try:
        ends = train_replicas(group, context, progress=_show_progress)
    except KeyboardInterrupt:
        _note_interrupt(group, context)
        raise
    except Exception:  # raised again: its author needs the lines that follow
        own = group[0].config.method_name
        if is_import_path(own):
            say(f"{own} failed; try it on tiny tasks: hcl check {own}", stderr=True)
        raise
    for seed, end in zip(group, ends, strict=True):
        if isinstance(end, TrialFailed):
            say(f"seed {seed.config.seed} failed: {end}", stderr=True)
        else:
            _show_result(seed.config.seed, end, seed.folder)
    return [None if isinstance(end, TrialFailed) else end for end in ends]


def _note_interrupt(group: list["Seed"], context: "RunContext") -> None:
    """Write the ends of interrupted trainings, so that none of their runs stays RUNNING."""
    from sweeps.tracking import deliver

    for seed in group:
        records = readable_records(seed.folder)
        if records and records[-1]["kind"] not in ENDS:
            Journal(seed.folder).append("failed", reason="interrupted", status="KILLED")
            deliver(context.store, seed.folder, context.parent_run_id)


def _read(path: Path) -> dict[str, Any]:
    """Read a trial's settings, flat; a result.json stands for the configuration it holds."""
    if path.suffix != ".json":
        document = load_yaml(path)
        for section, (what, command) in OTHERS.items():
            if section in document:
                raise ConfigError(
                    f"{path} is a {what}: hcl {command} {path.stem}; hcl run trains one"
                    " configuration, such as a file of trials/ (hcl files)"
                )
        return flatten(document)
    try:
        values = json.loads(read_text(path))
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read: not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold a JSON object but holds {type(values).__name__}")
    return flatten(config_of(values))


def _show_progress(progress: Progress) -> None:
    if progress.step == progress.iterations:
        losses = ", ".join(f"{name} {value:.4g}" for name, value in progress.losses.items())
        task = f"task {progress.task_id + 1}/{progress.num_tasks}"
        say(f"{task} trained, {progress.seconds:.0f} s, loss: {losses}", stderr=True)


def _show_result(seed: int, result: Result, folder: Path) -> None:
    say(f"seed {seed}:")
    for key, value in sorted(result.metrics.items()):
        say(f"  {key} {describe_metric(key, value)}")
    say(f"  in {folder / 'result.json'}")


def _show_means(results: list[Result]) -> None:
    """Show the mean of each score over the seeds, with its standard error."""
    say(f"mean ± SEM of {len(results)} seeds:")
    for key in sorted(set.intersection(*(set(result.metrics) for result in results))):
        if "/" not in key or key.startswith("flops/"):  # sizes are the same, seconds no result
            continue
        percent = is_fraction(key)
        values = [(100 if percent else 1) * result.metrics[key] for result in results]
        found = Estimate.of(values)
        say(f"  {key} {number(found.mean)} ± {number(found.sem or 0)}{' %' * percent}")
