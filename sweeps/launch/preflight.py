"""Checks before a sweep's first trial: what a user can mend, found without leaving anything."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from hcl.config import ConfigError, TrialConfig
from hcl.networks.given_weights import check_weights
from hcl.storage.files import check_writable
from hcl.training.process import Runtime
from hcl.training.trial_state import check_weights_fit, load_benchmark
from sweeps.cluster.resources import check_fits
from sweeps.launch.databases import check_apart, check_study
from sweeps.launch.request import SweepRequest
from sweeps.records.folder import SweepFolder
from sweeps.space.settings import SweepSettings
from sweeps.tracking import Store
from sweeps.tracking.database import check_store

WEIGHTS = "target/weights"


class DataFacts(NamedTuple):
    """Facts about a configuration's data, found before the start.

    Attributes:
        digest: hash of the data, and of the weights that networks start from.
        input_shape: shape of one sample.
        has_validation: whether every task has validation data.
    """

    digest: str
    input_shape: tuple[int, ...]
    has_validation: bool


def check_start(request: SweepRequest, study_url: str) -> tuple[int, ...]:
    """Make every check of a sweep or of its confirmation that needs no connection to Ray.

    A dry run makes the same ones: it calls this function too.

    Args:
        request: what is to be run.
        study_url: database of its study, which need not exist yet.

    Returns:
        The shape of one sample.

    Raises:
        ConfigError: the first thing to mend.
    """
    space = request.space
    is_one_network = not {key for key in space.parameters if key.startswith("target/")} - {WEIGHTS}
    facts = list(check_data(space.examples_of_data(), request.data_root, is_one_network).values())
    check_same_data(request.folder, facts)
    if not all(found.has_validation for found in facts):
        raise ConfigError(
            f"sweep.objective: {request.settings.objective} needs validation data, which the data"
            " do not have (x_val, y_val); set trial.benchmark/val_fraction to e.g. 0.1"
        )
    check_machine(request.settings, request.address)
    check_records(request.folder, request.store, study_url)
    request.folder.check_free()
    return facts[0].input_shape


def check_data(
    configs: Iterable[TrialConfig], data_root: str | None, must_fit: bool = True
) -> dict[str, DataFacts]:
    """Load each data set and each file of given weights once.

    Args:
        configs: of the trainings.
        data_root: folder of the data sets.
        must_fit: whether given weights must fit these configurations' networks; not where others
            are searched, some of which they may fit.

    Returns:
        What is known about each configuration's data, by its digest without the seed.

    Raises:
        ConfigError: data are missing or damaged, or a file of weights cannot be used.
    """
    runtime = Runtime(data_root=data_root)
    loaded: dict[Any, DataFacts] = {}
    found = {}
    for config in configs:
        data = (config.benchmark, config.target if config.target.weights else None)
        if data not in loaded:
            check_weights(config, data_root)
            benchmark = load_benchmark(config, runtime)
            if must_fit:
                check_weights_fit(config, benchmark, runtime)
            has_validation = all(len(task.val) for task in benchmark.tasks)
            loaded[data] = DataFacts(benchmark.digest, benchmark.input_shape, has_validation)
        found[config.digest(without_seed=True)] = loaded[data]
    return found


def check_same_data(folder: SweepFolder, facts: Sequence[DataFacts]) -> None:
    """Refuse data that changed since the sweep began; one of its results tells.

    Raises:
        ConfigError: names both digests.
    """
    for path in sorted(folder.path.glob("trials/*/*/result.json"))[:1]:
        try:
            then = json.loads(path.read_text())["data_digest"]
        except (OSError, ValueError, KeyError, TypeError):
            return  # whoever reads the result says that it is damaged
        now = [found.digest for found in facts]
        if then not in now:
            raise ConfigError(
                f"the data of sweep {folder.name!r} changed since it began: their digest was"
                f" {then} and is {now[0]}; restore them, or use another --name"
            )


def check_records(folder: SweepFolder, store: Store, study_url: str | None = None) -> None:
    """Check the places that records go to, and leave nothing there.

    Args:
        folder: the sweep's.
        store: MLflow's.
        study_url: the study's database; None where there is no search.

    Raises:
        ConfigError: the folder, its sweep.json or a database cannot be used.
    """
    check_storage(folder)
    folder.read_info()
    if study_url is not None:
        check_study(study_url)
    check_store(store)
    if study_url is not None:
        check_apart(study_url, store)


def check_machine(settings: SweepSettings, address: str | None = None) -> None:
    """Refuse a trial that never fits on this machine, roughly: Ray counts for itself later.

    Args:
        settings: resources of a trial.
        address: address of a Ray cluster, whose nodes may be still to come; None = this machine.

    Raises:
        ConfigError: it needs more CPUs, GPUs or memory than there are.
    """
    ray = sys.modules.get("ray")  # not imported here: `hcl run` does without
    if address is not None or (ray and ray.is_initialized()):
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


def check_storage(folder: SweepFolder) -> None:
    """Refuse a storage folder that cannot be written or made.

    Raises:
        ConfigError: it cannot.
    """
    try:
        check_writable(folder.path)
    except OSError as error:
        raise ConfigError(
            f"--storage {folder.storage}: {folder.path} cannot be written ({error.strerror})"
        ) from None
