"""Resources of trials: checked, counted, and packed on GPUs without a GPU."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
import ray
from hypothesis import example, given
from hypothesis import strategies as st
from ray import tune

from hcl.config import ConfigError
from sweeps.cluster import gpu_probe
from sweeps.cluster.gpu_probe import probe_configs, resolve_gpus
from sweeps.cluster.resources import GIB, GpuNode, check_fits, needs, pack, trials_that_fit
from sweeps.space.search_space import SearchSpace, load, parse
from sweeps.space.settings import SweepSettings

ROOT = Path(__file__).resolve().parents[3]


def space(**changes: Any) -> SearchSpace:
    return load(ROOT / "search_spaces" / "split_digits-hnet.yaml").with_sweep(**changes)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"cpu": 1.0, "gpu": 0.0}),
        ({"cpus_per_trial": 4, "gpus_per_trial": 0.25}, {"cpu": 4.0, "gpu": 0.25}),
        ({"memory_per_trial": 1.5}, {"cpu": 1.0, "gpu": 0.0, "memory": 1.5 * GIB}),
    ],
)
def test_a_trial_asks_ray_for_what_was_set(
    settings: dict[str, Any], expected: dict[str, float]
) -> None:
    assert needs(SweepSettings(**settings)) == expected


@pytest.mark.parametrize(
    ("available", "settings", "expected"),
    [
        ({"CPU": 8}, {"cpus_per_trial": 3}, 2),
        ({"CPU": 8}, {"cpus_per_trial": 9}, 0),
        ({"CPU": 64, "GPU": 2}, {"gpus_per_trial": 0.1}, 20),
        ({"CPU": 64, "GPU": 2}, {"gpus_per_trial": 0.4}, 4),  # not 5: no trial spans two GPUs
        ({"CPU": 64, "GPU": 3}, {"gpus_per_trial": 2}, 1),
        ({"CPU": 4, "GPU": 2}, {"gpus_per_trial": 0.1}, 4),
        ({"CPU": 8}, {"gpus_per_trial": 0.5}, 0),
        ({"CPU": 8, "memory": 10 * GIB}, {"memory_per_trial": 3}, 3),
        ({}, {}, 0),
    ],
)
def test_trials_at_a_time(
    available: dict[str, float], settings: dict[str, Any], expected: int
) -> None:
    assert trials_that_fit(available, SweepSettings(**settings)) == expected


def test_a_trial_that_never_fits_is_refused() -> None:
    check_fits({"CPU": 2}, SweepSettings())
    with pytest.raises(
        ConfigError, match="needs 1 CPUs and 0.5 GPUs but this machine has 2 and 0"
    ):
        check_fits({"CPU": 2}, SweepSettings(gpus_per_trial=0.5))
    with pytest.raises(ConfigError, match="and 64 GiB but this machine has 2 and 0 and 7.5 GiB"):
        check_fits({"CPU": 2, "memory": 7.5 * GIB}, SweepSettings(memory_per_trial=64))


@pytest.mark.parametrize(
    ("peak", "total", "cpus", "cpus_per_trial", "trials"),
    [
        (0.5, 24, 64, 1, 18),  # (0.5 * 1.15 + 0.75) * 18 = 23.85
        (0.5, 24, 8, 1, 8),  # cores run out first
        (0.5, 24, 8, 4, 2),
        (0.5, 24, 2, 4, 1),
        (10, 24, 64, 1, 1),  # (10 * 1.15 + 0.75) * 2 = 24.5
        (22, 24, 64, 1, 1),  # fits, but for the margin: a GPU of its own
    ],
)
def test_packing(peak: float, total: float, cpus: float, cpus_per_trial: int, trials: int) -> None:
    node = GpuNode(int(peak * GIB), int(total * GIB), cpus)
    assert math.floor(1 / pack(node, cpus_per_trial) + 1e-9) == trials


def test_packing_refuses_what_no_gpu_holds() -> None:
    with pytest.raises(ConfigError, match=r"needs 24.0 GiB of GPU memory but A10G has 24.0 GiB"):
        pack(GpuNode(24 * GIB, 24 * GIB, 8, "A10G"), 1)


@example(peak=0, total=192 * GIB, cpus=127.0, cpus_per_trial=1)  # 1/127, rounded down, is 1/128
@given(
    peak=st.integers(0, 80 * GIB),
    total=st.integers(8 * GIB, 192 * GIB),
    cpus=st.floats(0.5, 256),
    cpus_per_trial=st.integers(1, 16),
)
def test_packed_trials_fit_by_ray_s_count_and_by_memory(
    peak: int, total: int, cpus: float, cpus_per_trial: int
) -> None:
    try:
        share = pack(GpuNode(peak, total, cpus), cpus_per_trial)
    except ConfigError:
        assert peak + GIB > total
        return
    assert 0 < share <= 1
    assert share == pytest.approx(round(share, 4), abs=1e-12)  # what Ray can keep
    settings = SweepSettings(gpus_per_trial=share, cpus_per_trial=1)
    at_a_time = trials_that_fit({"CPU": 10_000, "GPU": 1}, settings)
    assert at_a_time >= 1
    assert at_a_time == 1 or at_a_time * (peak + 0.75 * GIB) <= total
    assert at_a_time == 1 or at_a_time * cpus_per_trial <= cpus


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("fast", "sweep.gpus_per_trial: must be a number but got 'fast'; or auto"),
        (1.5, "sweep.gpus_per_trial: must be a whole number or at most 1 but got 1.5"),
        (-1, "sweep.gpus_per_trial: must be >= 0 but got -1.0"),
        (None, "sweep.gpus_per_trial: must be a number but got None; or auto"),
        (True, "sweep.gpus_per_trial: must be a number but got True; or auto"),
    ],
)
def test_a_wrong_number_of_gpus_is_refused(value: object, message: str) -> None:
    document = {**space().to_dict()}
    document["sweep"] = {**document["sweep"], "gpus_per_trial": value}
    with pytest.raises(ConfigError) as caught:
        parse(document, "x")
    assert [error.split(";")[0] for error in caught.value.errors] == [message.split(";")[0]]
    assert message in str(caught.value)


@pytest.mark.parametrize("value", ["auto", 0, 0.25, 1, 2.0])
def test_numbers_of_gpus(value: Any) -> None:
    changed = space(gpus_per_trial=value)
    assert changed.sweep.gpus_per_trial == value
    assert parse(changed.to_dict(), changed.name).sweep == changed.sweep


def test_the_probe_is_short_and_covers_both_ends() -> None:
    whole = space()
    low, high = probe_configs(whole)
    assert low.train.iterations == high.train.iterations == gpu_probe.STEPS
    assert (low.method.chunk_size, high.method.chunk_size) == (200, 4000)
    assert low.benchmark == high.benchmark == whole.example().benchmark


def test_auto_becomes_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    found = GpuNode(peak=2 * GIB, total=24 * GIB, cpus_per_gpu=16, name="A10G")
    monkeypatch.setattr(gpu_probe, "probe_here", lambda configs, data_root, code: found)
    lines: list[str] = []
    resolved = resolve_gpus(space(gpus_per_trial="auto"), None, None, lines.append)
    assert resolved.sweep.gpus_per_trial == 0.1428  # 7 of them: (2 * 1.15 + 0.75) * 7 = 21.35
    assert lines == [
        "gpus_per_trial auto: a trial reserves 2.00 of 24.0 GiB of A10G, 7 at a time on each:"
        " 0.1428"
    ]
    assert resolve_gpus(resolved, None, None, lines.append) is resolved and len(lines) == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_auto_without_a_gpu_means_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    lines: list[str] = []
    resolved = resolve_gpus(space(gpus_per_trial="auto"), None, None, lines.append)
    assert resolved.sweep.gpus_per_trial == 0
    assert lines == ["gpus_per_trial auto: there is no GPU that torch can use, trials run on CPUs"]


def test_a_probe_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text(
        "#!/bin/sh\necho Traceback >&2\necho 'RuntimeError: no driver' >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setattr(gpu_probe.sys, "executable", str(broken))
    with pytest.raises(ConfigError) as caught:
        resolve_gpus(space(gpus_per_trial="auto"), None, None, print)
    assert caught.value.errors == [
        "gpus_per_trial auto: the probe failed (RuntimeError: no driver); give a number,"
        " e.g. --gpus-per-trial 0.25"
    ]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore")
def test_on_a_cluster_trials_see_their_own_devices_and_memory_is_counted(
    tmp_path: Path,
) -> None:
    def trainable(config: dict[str, Any]) -> None:
        devices = os.environ.get("CUDA_VISIBLE_DEVICES")
        held = ray.get_runtime_context().get_assigned_resources()
        tune.report({"devices": devices, "gpu": held["GPU"], "memory": held["memory"] / GIB})

    settings = SweepSettings(gpus_per_trial=1.0, memory_per_trial=0.5)
    ray.init(
        "local",
        num_cpus=2,
        num_gpus=2,  # declared; nothing here touches a device
        _memory=2 * GIB,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    lines: list[str] = []
    try:
        # The probe is a task that asks for a GPU; here torch may find none.
        resolved = resolve_gpus(space(gpus_per_trial="auto"), "auto", None, lines.append)
        assert resolved.sweep.gpus_per_trial != "auto"
        assert lines[0].startswith("gpus_per_trial auto: ")
        assert trials_that_fit(ray.cluster_resources(), settings) == 2
        results = tune.Tuner(
            tune.with_resources(trainable, needs(settings)),
            tune_config=tune.TuneConfig(num_samples=4, max_concurrent_trials=2),
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        ).fit()
        rows = [result.metrics for result in results]
    finally:
        ray.shutdown()
    assert [row["devices"] for row in rows if row] != []
    assert all(row and row["devices"] in ("0", "1") for row in rows)
    assert all(row and (row["gpu"], row["memory"]) == (1, 0.5) for row in rows)
