"""Options that several commands share, and what they mean."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hcl.config import ConfigError
from sweeps.records.folder import SweepFolder

if TYPE_CHECKING:
    from rich.console import Console

    from sweeps.tracking import Store

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
    Path | None,
    typer.Option(
        "--data-root",
        envvar="HCL_DATA",
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
        help="Send this code to the cluster's workers, which need its dependencies alone.",
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
STORAGE = Path("storage")


def console(stderr: bool = False) -> "Console":
    """Where commands write."""
    from rich.console import Console

    return Console(stderr=stderr)


def say(text: str, stderr: bool = False) -> None:
    """One line, as it is: no wrapping, no markup, so that it can be copied and searched."""
    typer.echo(text, err=stderr)


def numbers(text: str | None, option: str) -> list[int] | None:
    """`1,2,3` as numbers.

    Raises:
        ConfigError: it is something else.
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option} {text!r}: give whole numbers, e.g. {option} 1,2,3") from None


def gpu_share(text: str | None) -> float | str | None:
    """`--gpus-per-trial` as a number or "auto".

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


def absolute(path: Path | None) -> str | None:
    """Paths are the user's: relative to where `hcl` was called."""
    return None if path is None else str(path.expanduser().absolute())


def find_store(storage: Path, tracking_uri: str | None, sweep: str) -> "Store":
    """The MLflow store that a sweep was recorded in.

    Raises:
        ConfigError: it is a server whose credentials must be given again.
    """
    from sweeps.launch.request import store_of

    folder = SweepFolder(storage, sweep)
    if tracking_uri is None:
        tracking_uri = folder.read_info().get("tracking_uri")
        if tracking_uri and "***@" in tracking_uri:
            raise ConfigError(
                f"sweep {sweep!r} was recorded at {tracking_uri}; give its --tracking-uri,"
                " for passwords are not kept"
            )
    return store_of(folder, tracking_uri)
