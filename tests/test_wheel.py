"""The wheel alone, in a fresh environment and an empty folder: what a new user has."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from sweeps.records.folder import git_tags

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Hcl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"), "wheel")


def build(source: Path, target: Path, kind: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, env=clean())
    (made,) = target.iterdir()
    return made


def clean() -> dict[str, str]:
    """Environment variables without those that lead back to the checkout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HCL_")}
    return {k: v for k, v in kept.items() if k not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment.

    The environment sees this one's libraries, but not its `hcl`: a folder that a .pth file names
    is searched, without the .pth files in it (the editable installation is one).
    """
    home = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    (packages_of(home) / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    pip(home, "install", "--no-deps", "--no-index", str(wheel))
    return home


def pip(environment: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python"]
    subprocess.run([*command, "--quiet", *arguments], check=True, env=clean())


def packages_of(environment: Path) -> Path:
    (packages,) = environment.glob("lib/python*/site-packages")
    return packages


@pytest.fixture(scope="module")
def hcl(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Hcl:
    """Run the installed `hcl` in an empty folder."""
    empty = tmp_path_factory.mktemp("empty")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [environment / "bin" / "hcl", *arguments]
        return subprocess.run(command, cwd=empty, env=clean(), capture_output=True, text=True)

    return call


def test_the_wheel_knows_its_commit(hcl: Hcl) -> None:
    done = hcl("--version")
    commit = git_tags()["git_commit"][:12]
    assert done.stdout.startswith(f"hcl-sweeps 0.1.0, commit {commit}"), done.stderr


def test_a_wheel_from_a_source_archive_is_the_same(wheel: Path, tmp_path: Path) -> None:
    archive = build(ROOT, tmp_path / "sdist", "sdist")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again = build(source, tmp_path / "dist", "wheel")
    names = [sorted(ZipFile(path).namelist()) for path in (wheel, again)]
    assert names[0] == names[1]


def test_bundled_files_are_found_by_name(hcl: Hcl) -> None:
    listed = hcl("reproduce", "--list")
    assert listed.returncode == 0 and "table1 " in listed.stdout
    planned = hcl("sweep", "split_mnist-hnt", "--dry-run")
    assert planned.returncode == 2
    assert "there is no search space 'split_mnist-hnt'; did you mean split_mnist-hnet?" in (
        planned.stderr
    )


def test_a_sweep_by_name(hcl: Hcl) -> None:
    """It trains with the C++ step, whose source the wheel holds."""
    done = hcl("sweep", "split_digits-hnet", "--num-trials", "1", "--storage", "by_name")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 trials ended" in done.stdout


def test_the_demo_and_what_is_left_after_it(hcl: Hcl, tmp_path: Path) -> None:
    few = ("--num-trials", "1", "--pairs", "2")
    done = hcl("demo", *few, "--storage", str(tmp_path / "storage"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verdict of split_digits-study" in done.stdout and "online_ewc" in done.stdout
    assert "hcl ui split_digits-study --storage" in done.stdout
    storage, name = tmp_path / "storage", "split_digits-study"
    page = (storage / "studies" / name / f"{name}.html").read_text()
    assert f"<h1>{name}</h1>" in page
    sweep = storage / "sweeps" / f"{name}-split_digits-task-hnet"
    assert (
        json.loads((sweep / "sweep.json").read_text())["git_commit"] == (git_tags()["git_commit"])
    )
    (result, *_) = sweep.rglob("result.json")
    assert json.loads(result.read_text())["versions"]["hcl"] == "0.1.0"


def test_uninstalling_leaves_nothing(environment: Path, hcl: Hcl) -> None:
    assert hcl("settings", "method/beta").returncode == 0
    pip(environment, "uninstall", "--yes", "hcl-sweeps")
    assert [path.name for path in packages_of(environment).iterdir()] == ["libraries.pth"]
    assert not (environment / "bin" / "hcl").exists()
