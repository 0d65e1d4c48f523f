"""`hcl run`: one configuration, without a search."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcl.config import ConfigError, TrialConfig, flatten
from hcl.results import config_of
from sweeps.commands.options import (
    STORAGE,
    DataRoot,
    Storage,
    TrackingUri,
    absolute,
    numbers,
    say,
)
from sweeps.output.metric_names import shown
from sweeps.records.folder import SweepFolder, git_tags
from sweeps.space.yaml_file import load_yaml, parse_yaml, read_text

if TYPE_CHECKING:
    from hcl.results import Progress, Result
    from sweeps.workers.seed import Place
    from sweeps.workers.seed_batch import Seed


def run(
    config: Annotated[Path, typer.Argument(help="Settings of one trial, .json or .yaml.")],
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(show_default="the file's", help="Seeds to train, e.g. 1,2,3.")
    ] = None,
    name: Annotated[str, typer.Option(help="MLflow experiment of these runs.")] = "single",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")] = "cpu",
    storage: Storage = STORAGE,
    tracking_uri: TrackingUri = None,
    data_root: DataRoot = None,
) -> None:
    """Train one configuration and record it in MLflow.

    The same configuration and seed is never trained twice: interrupted, it goes on; finished,
    its result is shown again.

    \b
    Examples:
      hcl run trial.yaml
      hcl run trial.json --set method/beta=0.1 --set 'method/hidden_sizes=[25, 25]' --seeds 1,2,3

    \b
    Exit status: 0 trained, 1 training failed, 2 something to correct, 130 interrupted.
    """
    values = _changed(_read(config), change or [])
    chosen = numbers(seeds, "--seeds") or [values.get("seed", 1)]
    configs = [TrialConfig.from_dict({**values, "seed": seed}) for seed in chosen]
    _check_device(device)
    from sweeps.launch.request import store_of
    from sweeps.tracking import prepare
    from sweeps.workers.seed import Place
    from sweeps.workers.seed_batch import Seed, in_lots

    folder = SweepFolder(storage, name)
    store = store_of(folder, tracking_uri)
    place = Place(
        name,
        store,
        tags=git_tags(),
        phase="single",
        device=device,
        data_root=absolute(data_root),
        checkpoint_every=1000,
    )
    _check_start(configs, folder, place)
    prepare(store)
    todo = [Seed(c, _seed_folder(folder, c), c.digest(without_seed=True)) for c in configs]
    ended_well = [_train(lot, place) for lot in in_lots(todo)]
    if not all(ended_well):
        raise typer.Exit(1)


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda") and not device.startswith("cuda:"):
        raise ConfigError(f"--device {device!r}: use cpu, cuda or cuda:NUMBER")
    if device != "cpu":
        from hcl.training.process import check_device

        check_device(device)


def _check_start(configs: list[TrialConfig], folder: SweepFolder, place: "Place") -> None:
    """Look at everything that a user can fix, before anything is made."""
    from hcl import benchmarks
    from sweeps.launch.preflight import check_writable
    from sweeps.records.journal import Journal, JournalError
    from sweeps.tracking.store import check_store
    from sweeps.workers.seed import read_result

    check_writable(folder)
    for one in configs:
        path = _seed_folder(folder, one)
        try:
            is_done = read_result(path, one) is not None
            Journal(path).records()
        except JournalError as error:
            raise ConfigError(f"{error}; remove {path} to train this seed again") from None
        if not is_done:
            benchmarks.load(one.benchmark, place.data_root)
    check_store(place.store)


def _seed_folder(folder: SweepFolder, config: TrialConfig) -> Path:
    return folder.seed_folder(config.digest(without_seed=True), config.seed)


def _train(lot: list["Seed"], place: "Place") -> bool:
    """Train seeds and show their results, or why there is none; whether all have one."""
    from sweeps.records.journal import Journal
    from sweeps.records.trial_ends import ENDS, readable_records
    from sweeps.tracking import deliver
    from sweeps.workers.seed import TrialFailed
    from sweeps.workers.seed_batch import train_lot

    try:
        ends = train_lot(lot, place, progress=_show_progress)
    except KeyboardInterrupt:
        for seed in lot:
            records = readable_records(seed.folder)
            if records and records[-1]["kind"] not in ENDS:
                Journal(seed.folder).append("failed", reason="interrupted", status="KILLED")
                deliver(place.store, seed.folder, None)
        raise
    for seed, end in zip(lot, ends, strict=True):
        if isinstance(end, TrialFailed):
            say(f"seed {seed.config.seed} failed: {end}", stderr=True)
        else:
            _show_result(seed.config.seed, end, seed.folder)
    return not any(isinstance(end, TrialFailed) for end in ends)


def _read(path: Path) -> dict[str, Any]:
    """A trial's settings, flat; a result.json is taken for the configuration it holds."""
    if path.suffix != ".json":
        return flatten(load_yaml(path))
    try:
        values = json.loads(read_text(path))
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read: not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold a JSON object but holds {type(values).__name__}")
    return flatten(config_of(values))


def _changed(values: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """Apply `KEY=VALUE`s; a value is read as YAML, so `[25, 25]` is a list and `1e-3` a number."""
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {change!r}: write KEY=VALUE, e.g. --set method/beta=0.1")
        try:
            values = {**values, key: parse_yaml(f"value: {text}")["value"]}
        except ConfigError as error:
            raise ConfigError(f"--set {change!r}: {error}") from None
    return values


def _show_progress(progress: "Progress") -> None:
    if progress.step == progress.iterations:
        losses = ", ".join(f"{name} {value:.4g}" for name, value in progress.losses.items())
        task = f"task {progress.task_id + 1}/{progress.num_tasks}"
        say(f"{task} trained, {progress.seconds:.0f} s, loss: {losses}", stderr=True)


def _show_result(seed: int, result: "Result", folder: Path) -> None:
    say(f"seed {seed}:")
    for key, value in sorted(result.metrics.items()):
        say(f"  {key} {shown(key, value)}")
    say(f"  in {folder / 'result.json'}")
