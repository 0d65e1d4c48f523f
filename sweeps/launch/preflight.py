"""What can be wrong before a sweep's first trial, looked at without leaving anything behind."""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from hcl.config import ConfigError
from sweeps.cluster.resources import check_fits
from sweeps.records.folder import SweepFolder
from sweeps.space.search_space import SearchSpace
from sweeps.space.settings import SweepSettings
from sweeps.tracking import Store, redact
from sweeps.tracking.store import check_answers, check_sqlite, check_store, why


def check_start(
    space: SearchSpace,
    folder: SweepFolder,
    store: Store,
    study_url: str | None,
    data_root: str | None,
    is_local: bool,
) -> tuple[int, ...]:
    """Data, storage, databases and, on this machine, resources.

    Args:
        space: what is to be run.
        folder: where everything will be kept.
        store: of MLflow.
        study_url: database of the study; None = a file in the folder.
        data_root: folder with the data sets.
        is_local: whether trials run on this machine.

    Returns:
        The shape of one sample.

    Raises:
        ConfigError: anything a user can fix.
    """
    from hcl import benchmarks

    benchmark = benchmarks.load(space.example().benchmark, data_root)
    if is_local:
        check_here(space.sweep)
    check_writable(folder)
    folder.read_info()
    check_study(study_url or folder.study_url)
    check_store(store)
    return benchmark.input_shape


def check_here(sweep: SweepSettings) -> None:
    """Refuse a trial that never gets a place on this machine, roughly: Ray counts for itself.

    Raises:
        ConfigError: it needs more CPUs, GPUs or memory than there are.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return  # a program's own Ray may have been told other numbers
    wanted = replace(sweep, gpus_per_trial=0.0) if sweep.gpus_per_trial == "auto" else sweep
    here = {"CPU": float(os.cpu_count() or 1)}
    if wanted.gpus_per_trial:
        import torch

        here["GPU"] = float(torch.cuda.device_count())
    here["memory"] = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    check_fits(here, wanted)


def check_writable(folder: SweepFolder) -> None:
    """Refuse a storage folder that cannot be written, or made.

    Raises:
        ConfigError: it cannot.
    """
    path = folder.path
    nearest = next(p for p in (path, *path.parents) if p.exists() or p.is_symlink())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise ConfigError(
            f"--storage {folder.storage}: {path} cannot be written ({error.strerror})"
        ) from None


def check_study(url: str, must_exist: bool = False) -> None:
    """Refuse a database that does not answer, is something else, or is not there yet.

    Raises:
        ConfigError: names it without its password.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            path = Path(parsed.database or "")
            check_sqlite(path)
            if must_exist and not path.is_file():
                raise FileNotFoundError("there is no such file")
        else:
            check_answers(url)
    except (SQLAlchemyError, ImportError, OSError) as error:
        raise ConfigError(
            f"the study's database {redact(url)} cannot be opened ({why(error)});"
            " start it, or check --study-url"
        ) from None
