"""The one context of a run, made from its settings."""

from pathlib import Path

import pytest

from sweeps.launch.request import make_context, store_of
from sweeps.records.folder import SweepFolder, git_tags
from sweeps.space.settings import SweepSettings


def test_a_context_follows_the_settings(tmp_path: Path) -> None:
    store = store_of(SweepFolder(tmp_path, "mine"), None)
    settings = SweepSettings(cpus_per_trial=3, gpus_per_trial=0.25, checkpoint_every=7)
    made = make_context(store, settings, "search", "/data", "parent")
    assert (made.sweep, made.store, made.parent_run_id) == ("mine", store, "parent")
    assert (made.phase, made.data_root, made.tags) == ("search", "/data", git_tags())
    assert (made.device, made.gpu_share, made.threads) == ("cuda", 0.25, 3)
    assert made.checkpoint_every == 7 and made.classifiers is None


def test_without_gpus_it_is_a_cpu_s(tmp_path: Path) -> None:
    store = store_of(SweepFolder(tmp_path, "mine"), None)
    made = make_context(store, SweepSettings(), "single")
    assert (made.device, made.gpu_share, made.parent_run_id) == ("cpu", 0.0, None)


def test_gpus_must_have_been_counted_before(tmp_path: Path) -> None:
    store = store_of(SweepFolder(tmp_path, "mine"), None)
    with pytest.raises(ValueError, match="resolve_gpus"):
        make_context(store, SweepSettings(gpus_per_trial="auto"), "search")
