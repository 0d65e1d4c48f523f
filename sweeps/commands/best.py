"""`hcl best`: the best configuration of a sweep or of a study, as a file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from hcl.config import ConfigError, plugins
from sweeps.commands.options import STORAGE, Storage, StudyUrl, say
from sweeps.records.folder import SweepFolder, write_atomically

if TYPE_CHECKING:
    import pandas as pd

Name = Annotated[str, typer.Argument(metavar="SWEEP|STUDY", help="Name of the sweep or study.")]
Out = Annotated[
    Path | None, typer.Option(show_default="the terminal", help="File to write, for hcl run.")
]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print its settings as JSON, for python -m hcl --config.")
]


def best(
    context: typer.Context,
    name: Name,
    out: Out = None,
    as_json: AsJson = False,
    storage: Storage = STORAGE,
    study_url: StudyUrl = None,
) -> None:
    """Write the best configuration of a sweep or of a study, by validation data.

    \b
    Examples:
      hcl best split_digits-hnet --out trial.yaml
      hcl run trial.yaml --seeds 1..5
      hcl best split_digits-hnet --json > trial.json

    \b
    Exit status: 0 written, 2 there is no such sweep, or nothing has finished in it.
    """
    folder = SweepFolder(storage, name)
    context.with_resource(plugins.importable(*folder.kept_code()))
    if folder.space_file.exists():
        about, settings = _best_of_sweep(folder, study_url)
    else:
        about, settings = _best_of_study(folder)
    kept = {key: value for key, value in settings.items() if key not in ("seed", "code")}
    if as_json:
        say(json.dumps(kept, indent=1))
    text = f"# {about}\n{yaml.safe_dump(kept, sort_keys=False, width=99)}"
    if out is None:
        return None if as_json else say(text.rstrip("\n"))
    try:
        write_atomically(out.expanduser().absolute(), text)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from None
    return say(f"{out}: {about}", stderr=as_json)


def _best_of_sweep(folder: SweepFolder, study_url: str | None) -> tuple[str, dict[str, Any]]:
    from sweeps.launch.confirm import best_of, read_space, searched_in
    from sweeps.output.metric_names import describe_metric

    space = read_space(folder)
    (one,) = best_of(folder, space, 1, searched_in(folder, study_url))
    config = space.trial_config(one.params, space.sweep.seeds[0])
    reached = zip(space.sweep.objectives, one.values, strict=True)
    values = ", ".join(f"{key} {describe_metric(key, value)}" for key, value in reached)
    return f"best of sweep {folder.name}: trial {one.number}, {values}", config.to_dict()


def _best_of_study(folder: SweepFolder) -> tuple[str, dict[str, Any]]:
    """Choose among the confirmed configurations, on validation data; test data choose nothing."""
    from sweeps.output.metric_names import describe_metric
    from sweeps.records.entries import read_recorded
    from sweeps.reports.runs import choose_runs, complete_runs

    recorded = read_recorded([folder])
    runs = complete_runs(recorded.frame)
    if runs.empty:
        raise ConfigError(
            f"there is no sweep or study {folder.name!r} with a finished training in"
            f" {folder.storage}"
        )
    _check_one_row(folder, runs)
    selector = f"val/{runs['scenario'].iloc[0]}/average_accuracy"
    chosen, _ = choose_runs(runs, selector)
    config, seed = chosen["config"].iloc[0], int(chosen["seed"].iloc[0])
    start = next(
        records[0]
        for records in recorded.journals.values()
        if records[0]["tags"].get("config_id") == config and records[0]["seed"] == seed
    )
    value = describe_metric(selector, float(chosen[selector].mean()))
    about = f"best of study {folder.name}: {selector} {value}, mean of {len(chosen)} seeds"
    return about, dict(start["params"])


def _check_one_row(folder: SweepFolder, runs: "pd.DataFrame") -> None:
    """Refuse a study of several benchmarks or scenarios: each has a best of its own.

    Raises:
        ConfigError: names its sweeps.
    """
    if len(runs[["benchmark/name", "scenario"]].drop_duplicates()) > 1:
        sweeps = sorted(path.name for path in folder.path.parent.glob(f"{folder.name}-*"))
        raise ConfigError(
            f"study {folder.name!r} has several benchmarks or scenarios, each with a best of its"
            f" own; name one of its sweeps: {', '.join(sweeps)}"
        )
