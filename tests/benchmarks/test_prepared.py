"""Prepared data: one process writes them once, read-only; a change is noticed."""

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcl.benchmarks import files, load, mnist, prepared, sources
from hcl.config import BENCHMARKS, BenchmarkConfig, ConfigError
from hcl.storage.files import DataError


@pytest.fixture
def official(
    tmp_path: Path, tiny_arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Make a root with idx files of tiny arrays, which count as the official ones."""
    folder = tmp_path / mnist.RAW
    folder.mkdir(parents=True)
    files = {}
    for key, (name, *_) in mnist.FILES.items():
        array = tiny_arrays[key].astype(np.uint8)
        header = bytes([0, 0, 8, array.ndim]) + b"".join(
            size.to_bytes(4, "big") for size in array.shape
        )
        content = header + array.tobytes()
        packed = gzip.compress(content, mtime=0)
        (folder / f"{name}.gz").write_bytes(packed)
        files[key] = (name, *(hashlib.md5(data).hexdigest() for data in (packed, content)))
    monkeypatch.setattr(mnist, "FILES", files)
    return tmp_path


def test_every_benchmark_has_a_source_or_is_bundled() -> None:
    bundled = [
        name
        for name, info in BENCHMARKS.items()
        if not any(sources.SOURCES[source].prepared for source in info.sources)
    ]
    assert {"split_digits", "permuted_digits", "toy_regression"} <= set(bundled)
    for name in bundled:
        assert load(BenchmarkConfig(name=name, **BENCHMARKS[name].defaults)).tasks
        assert prepared.prepare(name) == prepared.check(name) == ()


def test_a_file_is_written_once_read_only_and_read_by_trials(
    official: Path, tiny_arrays: dict[str, np.ndarray]
) -> None:
    before = load(BenchmarkConfig("split_mnist"), official).digest
    (made,) = prepared.prepare("split_mnist", official)
    assert made.is_new and made.path == official / "mnist.npz"
    assert made.digest == files.digest(files.frozen(dict(tiny_arrays)))
    stat = made.path.stat()
    assert stat.st_mode & 0o777 == 0o444

    # Another benchmark of the same data set finds it; nothing is written again.
    (again,) = prepared.prepare("permuted_mnist", official)
    assert (again.is_new, again.path, again.digest) == (False, made.path, made.digest)
    assert made.path.stat() == stat
    assert prepared.check("split_mnist", official) == (again,)
    assert {path.name for path in official.iterdir()} == {"MNIST", "mnist.npz", ".mnist.npz.lock"}

    for file in (official / mnist.RAW).iterdir():
        file.unlink()
    _forget_cached_data()
    assert load(BenchmarkConfig("split_mnist"), official).digest == before


def test_a_users_own_file_is_kept(tiny_root: Path) -> None:
    content = (tiny_root / "mnist.npz").read_bytes()
    (result,) = prepared.prepare("split_mnist", tiny_root)
    assert not result.is_new and len(result.digest) == 64
    assert (tiny_root / "mnist.npz").read_bytes() == content


def test_a_changed_file_is_noticed(official: Path, tiny_arrays: dict[str, Any]) -> None:
    path = prepared.prepare("split_mnist", official)[0].path
    with np.load(path) as archive:
        digest = str(archive["digest"])
    path.unlink()
    np.savez(path, **{**tiny_arrays, "y_test": 9 - tiny_arrays["y_test"]}, digest=digest)
    for action in (prepared.check, prepared.prepare):
        with pytest.raises(DataError, match="was changed since it was prepared"):
            action("split_mnist", official)


def test_one_sentence_reports_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no benchmark 'splt_mnist'; did you mean split_mnist"):
        prepared.prepare("splt_mnist", tmp_path)
    with pytest.raises(DataError, match="mnist.npz is missing; make it with: hcl data prepare"):
        prepared.check("split_mnist", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--data-root .*file is a file; name the folder"):
        prepared.prepare("split_mnist", tmp_path / "file")
    with pytest.raises(DataError, match="/proc/x/mnist.npz cannot be written .* --data-root or"):
        prepared.prepare("split_mnist", "/proc/x")


def test_nothing_is_left_of_an_interrupted_write(
    official: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **arrays: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared.prepare("split_mnist", official)
    assert [path.name for path in official.iterdir()] == ["MNIST"]


@pytest.mark.mnist
@pytest.mark.timeout(120)
def test_one_of_many_processes_prepares(mnist_root: Path, tmp_path: Path) -> None:
    if mnist.missing_files(mnist_root):
        pytest.skip(f"{mnist_root} is prepared already")
    (tmp_path / "MNIST").symlink_to(mnist_root / "MNIST")
    command = [sys.executable, "-m", "sweeps.cli", "data", "prepare", "split_mnist"]
    running = [
        subprocess.Popen(
            [*command, "--data-root", str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    lines = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sorted(line.split(",")[0] for line in lines) == [
        "split_mnist: is there already",
        "split_mnist: is there already",
        "split_mnist: prepared",
    ]
    assert len({line.split("sha256")[1] for line in lines}) == 1


def _forget_cached_data() -> None:
    sources._read.cache_clear()
