"""Options that several commands share, and how their values are read."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcl.config import ConfigError, plugins
from sweeps.records.folder import SweepFolder
from sweeps.records.redact import HIDDEN, redact_command
from sweeps.space.bundled import FOLDERS, bundled_files
from sweeps.space.yaml_file import parse_yaml

if TYPE_CHECKING:
    from rich.console import Console

    from sweeps.tracking import Store

STORAGE = Path("storage")
MOST_SEEDS = 1000  # a slip of the finger asks for more


def absolute(path: str | None) -> str | None:
    """Return a user's path, relative to where `hcl` was called, as an absolute one."""
    return None if path is None else str(Path(path).expanduser().absolute())


Storage = Annotated[
    Path,
    typer.Option(
        "--storage",
        envvar="HCL_STORAGE",
        help="Folder of everything: sweeps, MLflow database, artifacts.",
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        show_default="a sqlite file in the storage folder",
        help="MLflow server or database to record runs in.",
    ),
]
DataRoot = Annotated[
    str | None,
    typer.Option(
        "--data-root",
        envvar="HCL_DATA",
        metavar="PATH",
        callback=absolute,
        show_default="~/.cache/hcl/data",
        help="Folder with the data sets; missing files are downloaded there.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="RAY_ADDRESS",
        show_default="this machine",
        help="Ray cluster: HOST:PORT, or auto for the one this machine belongs to.",
    ),
]
ShipCode = Annotated[
    bool,
    typer.Option(
        "--ship-code",
        help="Send this code to the cluster's workers, which then need only its dependencies.",
    ),
]
StudyUrl = Annotated[
    str | None,
    typer.Option(
        "--study-url",
        envvar="HCL_STUDY_URL",
        show_default="a sqlite file in the sweep's folder",
        help="Database of the Optuna study.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, show what would be trained, stop.")
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="Python file or package of your own that settings name as package.module:Name; may"
        " be repeated. Files beside the settings' file are found without it.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the tables as JSON: title, rows, notes of each.")
]


def complete_sweeps(incomplete: str) -> list[str]:
    """List the sweeps in storage whose names begin with this, for a shell's completion."""
    folder = Path(os.environ.get("HCL_STORAGE", STORAGE)) / "sweeps"
    return sorted(path.parent.name for path in folder.glob(f"{incomplete}*/sweep.json"))


def complete_files(incomplete: str) -> list[str]:
    """List the bundled files whose names begin with this, and files here."""
    bundled = [name for kind in FOLDERS for name in bundled_files(kind)]
    here = [str(path) for path in Path().glob(f"{incomplete}*")]
    return [*(name for name in bundled if name.startswith(incomplete)), *here]


SweepName = Annotated[
    str, typer.Argument(help="Name of the sweep.", autocompletion=complete_sweeps)
]


def use_plugins(context: typer.Context, plugin: list[Path] | None, *files: Path) -> None:
    """Let import paths name what lies beside some files, or is given, until the command ends.

    Raises:
        ConfigError: a plugin is not there.
    """
    for path in plugin or []:
        if not path.exists():
            raise ConfigError(f"--plugin {path}: there is no such file or folder")
    folders = [path.absolute().parent for path in (*files, *(plugin or []))]
    context.with_resource(plugins.importable(*folders))


def console() -> "Console":
    """Make the console that commands write to."""
    from rich.console import Console

    return Console()


def say(text: str, stderr: bool = False) -> None:
    """Print text as it is, neither wrapped nor marked up, for copying and searching."""
    typer.echo(text, err=stderr)


def parse_seeds(text: str | None) -> list[int] | None:
    """Read `--seeds`: `1,2,3`, or `101..105` with both ends.

    Raises:
        ConfigError: it is something else.
    """
    if text is None:
        return None
    first, dots, last = text.partition("..")
    if dots:
        if not (
            first.isdecimal() and last.isdecimal() and 0 <= int(last) - int(first) < MOST_SEEDS
        ):
            raise ConfigError(
                f"--seeds {text!r}: give a range from low to high, e.g. 101..105, at most"
                f" {MOST_SEEDS} seeds"
            )
        return list(range(int(first), int(last) + 1))
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds {text!r}: give whole numbers, e.g. --seeds 1,2,3") from None


def parse_seeds_or_count(text: str | None, default: int) -> list[int]:
    """Read `--seeds` of a table: `5` is 1..5; the rest like `parse_seeds`.

    Raises:
        ConfigError: it is something else.
    """
    count = str(default) if text is None else text
    if not count.isdecimal():
        return parse_seeds(text) or []
    if not 0 < int(count) <= MOST_SEEDS:
        raise ConfigError(f"--seeds {count}: give 1 to {MOST_SEEDS}")
    return list(range(1, int(count) + 1))


def parse_gpus(text: str | None) -> float | str | None:
    """Read `--gpus-per-trial`: a number or "auto".

    Raises:
        ConfigError: it is something else.
    """
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise ConfigError(
            f"--gpus-per-trial {text!r}: give a number, e.g. 1 or 0.25, or auto"
        ) from None


def parse_names(text: str | None) -> list[str]:
    """Read `a,b` as its names; none where the option was not given."""
    return text.split(",") if text else []


def parse_changes(changes: list[str] | None) -> dict[str, Any]:
    """Read `KEY=VALUE`s; a value is read as YAML, so `[25, 25]` is a list and `1e-3` a number.

    Raises:
        ConfigError: a change is not KEY=VALUE, or its value is no YAML.
    """
    values = {}
    for change in changes or []:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {change!r}: write KEY=VALUE, e.g. --set method/beta=0.1")
        try:
            values[key] = parse_yaml(f"value: {text}")["value"]
        except ConfigError as error:
            raise ConfigError(f"--set {change!r}: {error}") from None
    return values


def changed(values: dict[str, Any], changes: list[str] | None) -> dict[str, Any]:
    """Apply `KEY=VALUE`s to a file's content, each at the place that it has there, nested or flat.

    Raises:
        ConfigError: see `parse_changes`.
    """
    for key, value in parse_changes(changes).items():
        values = _put(values, key, value)
    return values


def _put(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    group, slash, rest = key.partition("/")
    if slash and key not in values and isinstance(values.get(group), dict):
        return {**values, group: _put(values[group], rest, value)}
    return {**values, key: value}


def find_tracking_uri(folder: SweepFolder, tracking_uri: str | None) -> str | None:
    """Return the user's tracking URI, else the one that the sweep was recorded with.

    Raises:
        ConfigError: that one has credentials, which must be given again.
    """
    if tracking_uri is not None:
        return tracking_uri
    recorded = folder.read_info().get("tracking_uri")
    if recorded and HIDDEN in recorded:
        raise ConfigError(
            f"sweep {folder.name!r} was recorded at {recorded}; give its --tracking-uri,"
            " passwords are not kept"
        )
    return recorded


def find_store(folder: SweepFolder, tracking_uri: str | None) -> "Store":
    """Return the MLflow store that a sweep was recorded in.

    Raises:
        ConfigError: it is a server whose credentials must be given again.
    """
    from sweeps.launch.request import store_of

    return store_of(folder, find_tracking_uri(folder, tracking_uri))


def command_line() -> str:
    """Return this command as it was typed, without credentials."""
    return redact_command(["hcl", *sys.argv[1:]])


def storage_option(folder: SweepFolder) -> str:
    """Return the `--storage` that a suggested command needs, with a space before it."""
    if "HCL_STORAGE" in os.environ or folder.storage == STORAGE.absolute():
        return ""
    return f" --storage {shlex.quote(str(folder.storage))}"
