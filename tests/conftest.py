"""Fixtures that several test files share."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Before torch is imported, here and in subprocesses: busy cores make torch's own threads crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from tiny_images import tiny_cifar

from hcl.benchmarks import cifar, mnist

pytest.register_assert_rewrite("whole_sweeps", "journals")  # whose failures say what differs

# The same examples in every run, however slow the machine is.
settings.register_profile(
    "hcl",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("hcl")

REPO = Path(__file__).resolve().parents[1]
CACHE = REPO / ".ci" / "cache" / "data"
UNPACK = REPO.parent / "shared" / "data" / "unpack.py"


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """A folder with the real MNIST files: HCL_DATA, or unpacked once from ../shared/data."""
    named = os.environ.get("HCL_DATA")
    for root in (Path(named) if named else CACHE, CACHE):
        if (root / mnist.NPZ).is_file() or not mnist.missing_files(root):
            return root
    if not UNPACK.is_file():
        pytest.skip(f"no MNIST in HCL_DATA or {CACHE}, and no {UNPACK} to make it")
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as folder:
        fresh = Path(folder) / "data"
        subprocess.run([sys.executable, str(UNPACK), str(fresh)], check=True)
        if mnist.missing_files(CACHE):  # nobody else was faster
            fresh.rename(CACHE)
    return CACHE


@pytest.fixture(scope="session")
def cifar_root(mnist_root: Path) -> Path:
    """A folder with the real CIFAR-10 and the first 50 classes of CIFAR-100."""
    if not all(
        (mnist_root / name).is_file() for name in (cifar.CIFAR10.npz, cifar.CIFAR100.first_npz)
    ):
        pytest.skip(f"no {cifar.CIFAR10.npz} and {cifar.CIFAR100.first_npz} in {mnist_root}")
    return mnist_root


@pytest.fixture
def tiny_arrays() -> dict[str, np.ndarray]:
    """Forty training and twenty test images of noise in MNIST's shape, all classes present."""
    generator = np.random.RandomState(0)
    return {
        "x_train": generator.randint(0, 256, (40, 28, 28)).astype(np.uint8),
        "y_train": np.arange(40) % 10,
        "x_test": generator.randint(0, 256, (20, 28, 28)).astype(np.uint8),
        "y_test": np.arange(20) % 10,
    }


@pytest.fixture
def tiny_root(tmp_path: Path, tiny_arrays: dict[str, np.ndarray]) -> Path:
    """A data root with a prepared mnist.npz of `tiny_arrays`, and both CIFARs as small."""
    np.savez(tmp_path / mnist.NPZ, **tiny_arrays, classes=np.array(list("0123456789")))
    for data_set in (cifar.CIFAR10, cifar.CIFAR100):
        np.savez(tmp_path / data_set.npz, **tiny_cifar(data_set.num_classes))
    return tmp_path
