"""`gpus_per_trial: auto`: measure what a trial needs of a GPU, then pack trials accordingly.

The probe trains every task for a few steps in a process of its own
(`sweeps.workers.measure_gpu`), here or on a node of the cluster.
"""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayTaskError

from hcl.config import ConfigError, TrialConfig, plugins
from sweeps.cluster.resources import GIB, GpuNode, pack
from sweeps.records.redact import redact_url
from sweeps.space.search_space import SearchSpace

STEPS = 3  # per task; memory grows with tasks, not with steps
PROBE_TIMEOUT = 900  # seconds; on a cluster a GPU node may have to be started first


def resolve_gpus(
    space: SearchSpace, address: str | None, data_root: str | None, say: Callable[[str], None]
) -> SearchSpace:
    """Return `space` with a number for `gpus_per_trial`; unchanged unless it is "auto".

    Args:
        space: the sweep's.
        address: address of a Ray cluster; None = this machine.
        data_root: folder of the data sets.
        say: takes one line for the user.

    Raises:
        ConfigError: no trial fits on a GPU, or the probe failed.
    """
    sweep = space.sweep
    if sweep.gpus_per_trial != "auto":
        return space
    configs = [config.to_dict() for config in probe_configs(space)]
    files = plugins.to_keep(space.imported_paths())
    code = {name: content.decode() for name, content in files.items()}
    if address is None:
        node = probe_here(configs, data_root, code)
    else:
        node = _probe_on_cluster(address, configs, data_root, code)
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
    """Return the lower and the upper end of all ranges, cut short; the largest is among them."""
    configs = []
    for params in [*space.corners(0), *space.corners(-1)]:
        try:
            config = space.trial_config(params, space.sweep.seeds[0])
        except ConfigError:
            continue  # ends that exclude each other
        short = {**config.to_dict(), "train/iterations": STEPS, "train/epochs": 0}
        configs.append(TrialConfig.from_dict(short))
    return configs or [space.example()]


def probe_here(
    configs: list[dict[str, Any]], data_root: str | None, code: dict[str, str]
) -> GpuNode | None:
    """Measure on this machine; None if it has no GPU.

    Args:
        configs: short trainings.
        data_root: folder of the data sets.
        code: files of users' own code, name -> text.

    Raises:
        ConfigError: the probe failed.
    """
    request = json.dumps({"configs": configs, "data_root": data_root, "code": code})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sweeps.workers.measure_gpu"],
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
    address: str, configs: list[dict[str, Any]], data_root: str | None, code: dict[str, str]
) -> GpuNode | None:
    """Do what `probe_here` does on a node with a GPU of the cluster, which is connected."""

    def probe() -> tuple[GpuNode | None, str]:
        return probe_here(configs, data_root, code), ray.get_runtime_context().get_node_id()

    try:
        task = ray.remote(num_gpus=1, num_cpus=1, max_retries=2)(probe).remote()
        node, node_id = ray.get(task, timeout=PROBE_TIMEOUT)
        has = next(n["Resources"] for n in ray.nodes() if n["NodeID"] == node_id)
    except GetTimeoutError:
        raise ConfigError(
            f"gpus_per_trial auto: no GPU of the cluster at {redact_url(address)} was free in"
            f" {PROBE_TIMEOUT} seconds; give a number, or 0 for CPUs"
        ) from None
    except RayTaskError as error:
        raise ConfigError(str(error.cause or error).strip().splitlines()[-1]) from None
    # Inside its task the probe saw one GPU only, so that the node's cores seemed all that GPU's.
    return node and dataclasses.replace(node, cpus_per_gpu=has["CPU"] / has["GPU"])
