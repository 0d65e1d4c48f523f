"""`gpus_per_trial: auto`: measure what a trial needs of a GPU, then pack trials accordingly.

The probe trains every task for a few steps, in a process of its own that gives the GPU back at its
end: `python -m sweeps.cluster.gpu_probe`, reading configurations from standard input.
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hcl.config import ConfigError, TrialConfig
from sweeps.cluster.resources import GIB, GpuNode, pack
from sweeps.space.search_space import SearchSpace

if TYPE_CHECKING:
    from hcl import Runtime

STEPS = 3  # per task; memory grows with tasks, not with steps
PROBE_TIMEOUT = 900  # seconds; on a cluster a GPU node may have to be started first


def settle(
    space: SearchSpace, address: str | None, data_root: str | None, say: Callable[[str], None]
) -> SearchSpace:
    """`space` with a number for `gpus_per_trial`; unchanged unless it is "auto".

    Args:
        space: the sweep's.
        address: of a Ray cluster; None = this machine.
        data_root: folder with the data sets.
        say: takes one line for the user.

    Raises:
        ConfigError: no trial fits on a GPU, or the probe failed.
    """
    sweep = space.sweep
    if sweep.gpus_per_trial != "auto":
        return space
    configs = [config.to_dict() for config in probe_configs(space)]
    if address is None:
        node = probe_here(configs, data_root)
    else:
        node = _probe_on_cluster(address, configs, data_root)
    if node is None:
        say("gpus_per_trial auto: there is no GPU that torch can use, trials run on CPUs")
        return space.with_sweep(gpus_per_trial=0.0)
    share = pack(node, sweep.cpus_per_trial)
    memory = f"{node.peak / GIB:.2f} of {node.total / GIB:.1f} GiB"
    say(
        f"gpus_per_trial auto: a trial reserves {memory} of {node.name},"
        f" {round(1 / share)} at a time on each: {share:g}"
    )
    return space.with_sweep(gpus_per_trial=share)


def probe_configs(space: SearchSpace) -> list[TrialConfig]:
    """The lower and the upper end of every range at once, cut short: the largest is among them."""
    configs = []
    for params in [*space.corners(0), *space.corners(-1)]:
        try:
            config = space.trial_config(params, space.sweep.seeds[0])
        except ConfigError:
            continue  # ends that exclude each other
        short = {**config.to_dict(), "train/iterations": STEPS, "train/epochs": 0}
        configs.append(TrialConfig.from_dict(short))
    return configs or [space.example()]


def probe_here(configs: list[dict[str, Any]], data_root: str | None) -> GpuNode | None:
    """Measure on this machine; None if it has no GPU.

    Raises:
        ConfigError: the probe failed.
    """
    request = json.dumps({"configs": configs, "data_root": data_root})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sweeps.cluster.gpu_probe"],
            input=request,
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"gpus_per_trial auto: the probe took more than {PROBE_TIMEOUT} seconds;"
            " give a number, e.g. --gpus-per-trial 0.25"
        ) from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigError(
            f"gpus_per_trial auto: the probe failed ({reason[:300]}); give a number,"
            " e.g. --gpus-per-trial 0.25"
        )
    found = json.loads(done.stdout.splitlines()[-1])
    return GpuNode(**found) if found else None


def _probe_on_cluster(
    address: str, configs: list[dict[str, Any]], data_root: str | None
) -> GpuNode | None:
    """As `probe_here`, on a node of the cluster that has a GPU."""
    import ray
    from ray.exceptions import GetTimeoutError, RayTaskError

    from sweeps.cluster.connection import start

    def probe() -> tuple[GpuNode | None, str]:
        return probe_here(configs, data_root), ray.get_runtime_context().get_node_id()

    mine = not ray.is_initialized()
    if mine:
        start(address)
    try:
        task = ray.remote(num_gpus=1, num_cpus=1, max_retries=2)(probe).remote()
        node, node_id = ray.get(task, timeout=PROBE_TIMEOUT)
        has = next(n["Resources"] for n in ray.nodes() if n["NodeID"] == node_id)
    except GetTimeoutError:
        raise ConfigError(
            f"gpus_per_trial auto: no GPU of the cluster at {address} was free in"
            f" {PROBE_TIMEOUT} seconds; give a number, or 0 for CPUs"
        ) from None
    except RayTaskError as error:
        raise ConfigError(str(error.cause or error).strip().splitlines()[-1]) from None
    finally:
        if mine:
            ray.shutdown()
    # Inside its task the probe saw one GPU only.
    return node and dataclasses.replace(node, cpus_per_gpu=has["CPU"] / has["GPU"])


def _measure(configs: list[dict[str, Any]], data_root: str | None) -> GpuNode | None:
    """In the probe's own process."""
    import torch

    if not torch.cuda.is_available():
        return None
    from hcl import Runtime, TrainingDiverged, run

    runtime = Runtime(device="cuda", data_root=data_root)
    for values in configs:
        config = TrialConfig.from_dict(values)
        try:
            if config.train.num_replicas > 1:
                _run_lot(config, runtime)
            else:
                run(config, runtime=runtime)
        except TrainingDiverged:
            pass  # at the ends of the ranges; it has used its memory nevertheless
        torch.cuda.empty_cache()
    return GpuNode(
        peak=torch.cuda.max_memory_reserved(),
        total=torch.cuda.get_device_properties(0).total_memory,
        cpus_per_gpu=len(os.sched_getaffinity(0)) / torch.cuda.device_count(),
        name=torch.cuda.get_device_name(0),
    )


def _run_lot(config: TrialConfig, runtime: "Runtime") -> None:
    """As many seeds as a trial trains at a time."""
    from hcl import Replica, run_replicas

    seeds = range(config.train.num_replicas)
    run_replicas([Replica(dataclasses.replace(config, seed=seed)) for seed in seeds], runtime)


def main() -> None:
    """Answer the request on standard input with one line of JSON: a GpuNode, or null."""
    node = _measure(**json.load(sys.stdin))
    print(json.dumps(node and dataclasses.asdict(node)))


if __name__ == "__main__":
    main()
