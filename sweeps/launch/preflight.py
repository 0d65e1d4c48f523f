"""Checks before a sweep's first trial: what a user can mend, found without leaving anything."""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from hcl import benchmarks
from hcl.config import ConfigError
from sweeps.cluster.resources import check_fits
from sweeps.launch.request import SweepRequest
from sweeps.records.folder import SweepFolder
from sweeps.space.settings import SweepSettings
from sweeps.tracking import redact
from sweeps.tracking.database import check_answers, check_sqlite, check_store
from sweeps.tracking.outages import describe_outage


def check_start(request: SweepRequest, study_url: str) -> tuple[int, ...]:
    """Check data, storage, databases and, on this machine, resources.

    Args:
        request: what is to be run.
        study_url: database of its study, which need not be there yet.

    Returns:
        The shape of one sample.

    Raises:
        ConfigError: the first thing to mend.
    """
    benchmark = benchmarks.load(request.space.example().benchmark, request.data_root)
    if request.address is None:
        check_here(request.settings)
    check_writable(request.folder)
    request.folder.read_info()
    check_study(study_url)
    check_store(request.store)
    return benchmark.input_shape


def check_here(settings: SweepSettings) -> None:
    """Refuse a trial that never fits on this machine, roughly: Ray counts for itself later.

    Raises:
        ConfigError: it needs more CPUs, GPUs or memory than there are.
    """
    ray = sys.modules.get("ray")  # not imported here: `hcl run` does without
    if ray and ray.is_initialized():
        return  # a program's own Ray may have been given other numbers
    is_auto = settings.gpus_per_trial == "auto"
    wanted = replace(settings, gpus_per_trial=0.0) if is_auto else settings
    here = {
        "CPU": float(os.cpu_count() or 1),
        "memory": float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
    }
    if wanted.gpus_per_trial:
        here["GPU"] = float(torch.cuda.device_count())
    check_fits(here, wanted)


def check_writable(folder: SweepFolder) -> None:
    """Refuse a storage folder that cannot be written or made.

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
    """Refuse a study's database that does not answer or is something else.

    Raises:
        ConfigError: names it without its password.
    """
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
            f"the study's database {redact(url)} cannot be opened ({describe_outage(error)});"
            " start it, or check --study-url"
        ) from None
