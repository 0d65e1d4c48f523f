"""Resources of a trial (CPUs, a share of a GPU, memory), and how many trials then fit.

This is arithmetic alone; `sweeps.cluster.gpu_probe` measures.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hcl.config import ConfigError
from sweeps.space.settings import SweepSettings

GIB = 2**30
CONTEXT = 0.75 * GIB  # GPU memory of each process that torch's allocator does not count
MARGIN = 1.15  # the probe is short; a later task or another seed may need a little more
STEP = 1e-4  # Ray keeps shares of a GPU to this precision


@dataclass(frozen=True)
class GpuNode:
    """A node's GPUs, and what a trial took of one.

    Attributes:
        peak: bytes that torch reserved for one trial.
        total: bytes of one GPU.
        cpus_per_gpu: CPU cores for each GPU of the node.
        name: the GPU's name.
    """

    peak: int
    total: int
    cpus_per_gpu: float
    name: str = "GPU"


def needs(sweep: SweepSettings) -> dict[str, float]:
    """Return what a trial asks of Ray, as `tune.with_resources` takes it."""
    wanted = {"cpu": float(sweep.cpus_per_trial), "gpu": gpus(sweep)}
    if sweep.memory_per_trial:
        wanted["memory"] = float(math.ceil(sweep.memory_per_trial * GIB))
    return wanted


def gpus(sweep: SweepSettings) -> float:
    """Return the GPUs of a trial as a number.

    Raises:
        ValueError: it is "auto" still, which `gpu_probe.resolve_gpus` replaces.
    """
    if sweep.gpus_per_trial == "auto":
        raise ValueError("gpus_per_trial is auto; resolve_gpus must replace it first")
    return sweep.gpus_per_trial


def trials_that_fit(available: Mapping[str, float], sweep: SweepSettings) -> int:
    """Return how many trials run at a time on `available` (Ray's CPU, GPU, memory)."""
    wanted = needs(sweep)
    fit = [available.get("CPU", 0) / wanted["cpu"]]
    if share := wanted["gpu"]:
        # A share never spans two GPUs: of 0.4, two fit on each.
        count = available.get("GPU", 0)
        fit.append(count / share if share >= 1 else count * math.floor(1 / share + 1e-9))
    if "memory" in wanted:
        fit.append(available.get("memory", 0) / wanted["memory"])
    return math.floor(min(fit) + 1e-9)


def check_fits(available: Mapping[str, float], sweep: SweepSettings) -> None:
    """Refuse a trial that never fits.

    Raises:
        ConfigError: not even one fits.
    """
    if trials_that_fit(available, sweep) > 0:
        return
    wants = f"{sweep.cpus_per_trial} CPUs and {gpus(sweep):g} GPUs"
    has = f"{available.get('CPU', 0):g} and {available.get('GPU', 0):g}"
    keys = "sweep.cpus_per_trial or sweep.gpus_per_trial"
    if sweep.memory_per_trial:
        wants += f" and {sweep.memory_per_trial:g} GiB"
        has += f" and {available.get('memory', 0) / GIB:.1f} GiB to give"
        keys = "sweep.cpus_per_trial, sweep.gpus_per_trial or sweep.memory_per_trial"
    raise ConfigError(f"a trial needs {wants} but this machine has {has}; change {keys}")


def pack(node: GpuNode, cpus_per_trial: int) -> float:
    """Return the share of a GPU with which as many trials as possible run side by side.

    The GPU's memory bounds their number, and so do the cores that feed it: more trials than
    cores can serve would hold memory and wait.

    Raises:
        ConfigError: not even one fits.
    """
    each = node.peak * MARGIN + CONTEXT
    by_memory = math.floor(node.total / each)
    if by_memory == 0 and node.peak + CONTEXT > node.total:
        raise ConfigError(
            f"a trial needs {node.peak / GIB:.1f} GiB of GPU memory but {node.name} has"
            f" {node.total / GIB:.1f} GiB; search smaller networks or batches"
        )
    by_cpus = math.floor(node.cpus_per_gpu / cpus_per_trial)
    count = max(1, min(by_memory, by_cpus))
    if count == 1:
        return 1.0
    steps = math.floor(1 / count / STEP + 1e-9)
    # Rounded down, a small share may let one more trial in than there is room for.
    return (steps if math.floor(1 / (steps * STEP) + 1e-9) <= count else steps + 1) * STEP
