"""The process that measures a GPU for `gpus_per_trial: auto`; it gives the GPU back at its end.

`python -m sweeps.workers.measure_gpu` reads configurations from standard input and answers with
one line of JSON. See `sweeps.cluster.gpu_probe`, which starts it.
"""

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from hcl import Replica, Runtime, TrainingDiverged, TrialConfig, run, run_replicas
from hcl.config import plugins


def measure(
    configs: list[dict[str, Any]], data_root: str | None, code: dict[str, str]
) -> dict[str, Any] | None:
    """Train each configuration, and return what torch reserved; None without a GPU.

    Args:
        configs: short trainings, flat as TrialConfig names their settings.
        data_root: folder of the data sets.
        code: files of users' own code, name -> text.

    Returns:
        Fields of `sweeps.cluster.resources.GpuNode`.
    """
    if not torch.cuda.is_available():
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name, text in code.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_text(text)
        with plugins.importable(Path(folder)):
            _train(configs, Runtime(device="cuda", data_root=data_root))
    return {
        "peak": torch.cuda.max_memory_reserved(),
        "total": torch.cuda.get_device_properties(0).total_memory,
        "cpus_per_gpu": len(os.sched_getaffinity(0)) / torch.cuda.device_count(),
        "name": torch.cuda.get_device_name(0),
    }


def _train(configs: list[dict[str, Any]], runtime: Runtime) -> None:
    for values in configs:
        config = TrialConfig.from_dict(values)
        try:
            if config.train.num_replicas > 1:
                _run_replicas(config, runtime)
            else:
                run(config, runtime=runtime)
        except TrainingDiverged:
            pass  # it happens at the ends of ranges; the memory was used nevertheless
        torch.cuda.empty_cache()


def _run_replicas(config: TrialConfig, runtime: Runtime) -> None:
    """Train as many seeds as a trial trains at a time."""
    seeds = range(config.train.num_replicas)
    run_replicas([Replica(dataclasses.replace(config, seed=seed)) for seed in seeds], runtime)


if __name__ == "__main__":
    print(json.dumps(measure(**json.load(sys.stdin))))
