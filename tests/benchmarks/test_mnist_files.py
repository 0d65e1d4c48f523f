"""MNIST's files: every form is read, one sentence reports any damage."""

import gzip
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from hcl.benchmarks import files, load, mnist
from hcl.config import BENCHMARKS, BenchmarkConfig
from hcl.storage.files import DataError, resolve_root


def config(name: str) -> BenchmarkConfig:
    return BenchmarkConfig(name=name, **BENCHMARKS[name].defaults)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_test": None}, "has no x_test"),
        ({"x_train": np.zeros((40, 28, 28))}, "x_train must be uint8 .* is float64"),
        ({"x_train": np.zeros((40, 784), np.uint8)}, r"x_train must be .* is uint8 \(40, 784\)"),
        ({"x_train": np.zeros((0, 28, 28), np.uint8)}, r"x_train must be .* \(0, 28, 28\)"),
        ({"y_train": np.zeros(39, np.int64)}, r"y_train must be .* \(40,\)"),
        ({"y_train": np.zeros(40)}, "y_train must be integers .* float64"),
        ({"y_test": np.full(20, 10)}, r"y_test must lie in 0..9 but holds 10..10"),
        ({"y_test": np.full(20, -1)}, r"y_test must lie in 0..9"),
        ({"y_test": np.array([None] * 20)}, "cannot be read as an .npz of plain arrays"),
        ({"y_train": np.arange(40) % 8}, r"no training image for task 4 \(classes 8, 9\)"),
        ({"y_test": np.arange(20) % 8}, r"no test image for task 4"),
    ],
)
def test_malformed_npz_gives_one_sentence(
    tmp_path: Path, tiny_arrays: files.RawArrays, changes: dict[str, Any], words: str
) -> None:
    arrays = {k: v for k, v in {**tiny_arrays, **changes}.items() if v is not None}
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(DataError, match=words) as caught:
        load(config("split_mnist"), tmp_path)
    assert len(caught.value.errors) == 1 and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 torn"])
def test_damaged_npz_gives_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read") as caught:
        load(config("split_mnist"), tmp_path)
    assert "\n" not in str(caught.value)


def test_torn_npz_gives_one_sentence(tiny_root: Path) -> None:
    path = tiny_root / "mnist.npz"
    content = bytearray(path.read_bytes())
    content[500:600] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        load(config("split_mnist"), tiny_root)


def test_a_single_array_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "mnist.npy", np.zeros(3))
    (tmp_path / "mnist.npy").rename(tmp_path / "mnist.npz")
    with pytest.raises(DataError, match="it is a single array"):
        load(config("split_mnist"), tmp_path)


def test_data_root_can_come_from_the_environment(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCL_DATA", str(tiny_root))
    assert resolve_root(None) == tiny_root.resolve()
    assert load(config("split_mnist")).digest == load(config("split_mnist"), tiny_root).digest
    monkeypatch.delenv("HCL_DATA")
    assert resolve_root(None) == Path("~/.cache/hcl/data").expanduser().resolve()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_altered_official_file_is_refused(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / mnist.RAW
    folder.mkdir(parents=True)
    for name, *_ in mnist.FILES.values():
        content = b"\x00\x00\x08\x01\x00\x00\x00\x01\x05"
        (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte{suffix} is not the official"):
        load(config("split_mnist"), tmp_path)


def test_idx_files_are_parsed_and_checked() -> None:
    header = b"\x00\x00\x08\x02\x00\x00\x00\x02\x00\x00\x00\x03"
    assert mnist.parse_idx(header + bytes(range(6)), Path("f")).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(DataError, match="f should hold 18 bytes .* but has 17"):
        mnist.parse_idx(header + bytes(5), Path("f"))
    for content in (b"", b"\x00\x00\x0d\x01", b"\x1f\x8b\x08\x01"):
        with pytest.raises(DataError, match="f is not an idx file"):
            mnist.parse_idx(content, Path("f"))


def test_offline_and_missing_says_which_file_where_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens there
    with pytest.raises(DataError) as caught:
        load(config("split_mnist"), tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for words in ("mnist.npz", "t10k-labels-idx1-ubyte", str(tmp_path), "HCL_DATA", "refused"):
        assert words in message
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="MNIST is missing"):
        load(config("split_mnist"), tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_cannot_be_made_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--data-root .*file is a file; name the folder"):
        load(config("split_mnist"), tmp_path / "file")


def test_prepared_files_need_no_torchvision(tiny_root: Path) -> None:
    script = """
import sys
sys.modules["torchvision"] = None  # importing it now fails
from hcl.benchmarks import load
from hcl.config import BenchmarkConfig
print(len(load(BenchmarkConfig("split_mnist"), sys.argv[1]).tasks))
load(BenchmarkConfig("split_mnist"), sys.argv[1] + "/empty")
"""
    command = [sys.executable, "-c", script, str(tiny_root)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout == "5\n"
    last = done.stderr.splitlines()[-1]
    assert "DataError: MNIST is missing" in last and "torchvision" in last


# The real MNIST


@pytest.fixture
def packed_files(mnist_root: Path) -> Path:
    folder = mnist_root / mnist.RAW
    if not all((folder / f"{name}.gz").is_file() for name, *_ in mnist.FILES.values()):
        pytest.skip(f"the .gz files are not in {folder}")
    return folder


@pytest.mark.mnist
@pytest.mark.timeout(180)
def test_real_mnist(mnist_root: Path) -> None:
    arrays = mnist.load(mnist_root)
    assert arrays["x_train"].shape == (60000, 28, 28) and arrays["x_test"].shape == (10000, 28, 28)
    assert np.bincount(arrays["y_test"]).tolist() == [
        *(980, 1135, 1032, 1010, 982),
        *(892, 958, 1028, 974, 1009),
    ]
    assert arrays["x_train"].mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    sizes = [len(task.train) for task in load(config("split_mnist"), mnist_root).tasks]
    assert sizes == [12665, 12089, 11263, 12183, 11800]


@pytest.mark.mnist
@pytest.mark.timeout(180)
def test_every_form_of_the_real_mnist_gives_the_same_digest(
    mnist_root: Path, packed_files: Path, tmp_path: Path
) -> None:
    arrays = mnist.load(mnist_root)
    np.savez(tmp_path / "mnist.npz", **arrays)
    packed = tmp_path / "packed"
    (packed / mnist.RAW).mkdir(parents=True)
    for name, *_ in mnist.FILES.values():
        (packed / mnist.RAW / f"{name}.gz").symlink_to(packed_files / f"{name}.gz")
    roots = (mnist_root, tmp_path, packed)
    assert {load(config("permuted_mnist"), root).digest for root in roots} == {"414068c49cebae04"}


_DOWNLOAD = """
import sys
from pathlib import Path
from torchvision.datasets import MNIST
from hcl.benchmarks import files, mnist
MNIST.mirrors = [sys.argv[1]]
print(files.digest(mnist.load(Path(sys.argv[2]))))
"""


@pytest.mark.mnist
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_processes_that_download_at_once_fetch_once(packed_files: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            if self.command == "GET":
                asked.append(self.path)

    handler = partial(Handler, directory=str(packed_files))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        mirror = f"http://127.0.0.1:{server.server_port}/"
        command = [sys.executable, "-c", _DOWNLOAD, mirror, str(tmp_path)]
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for _ in range(3)
        ]
        outputs = [process.communicate()[0].split()[-1] for process in running]
        server.shutdown()
    assert outputs == [files.digest(mnist.load(tmp_path))] * 3
    assert len(set(asked)) == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mnist.lock", "MNIST"]
