"""`--ship-code`: the workers run the driver's code and receive nothing else."""

import json
import shlex
import shutil
import subprocess
import sys
from os import environ
from pathlib import Path

import pytest
from bad_input import SPACE
from nodes import running_cluster
from tiny import ITERATIONS, trial

from hcl.config import ConfigError
from sweeps.cluster import shipping
from sweeps.cluster.shipping import check_option, code_files, shipped

MARK = """
from pathlib import Path as _Path

with _Path({marks!r}).open("a") as _file:
    _file.write(str(_Path(__file__).resolve()) + "\\n")
"""

# Trains, and counts the steps that the compiled kernel took.
TRAINING = """
import json
import sys
from unittest.mock import patch

import hcl
from hcl.kernels.one_pass import OutputLayer

config = hcl.TrialConfig.from_dict(json.loads(sys.argv[1]))
with patch.object(OutputLayer, "step", autospec=True, side_effect=OutputLayer.step) as step:
    metrics = hcl.run(config, runtime=hcl.Runtime(threads=1)).metrics
seconds = metrics.get("compile_seconds", 0.0)
print(json.dumps({"code": hcl.__file__, "seconds": seconds, "steps": step.call_count}))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy the code, with everything around and in it that a working copy gathers."""
    root = tmp_path / "project"
    for package in shipping.PACKAGES:
        shutil.copytree(shipping.ROOT / package, root / package)
    for name in ("data/mnist.npz", ".venv/lib/x.py", "mlruns/0/meta.yaml", "runs/mlflow.db"):
        for folder in (root, root / "hcl"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x" * 100)
    return root


def test_only_source_files_of_the_packages_travel(project: Path) -> None:
    files = code_files(project)
    assert {path.parts[0] for path in files} == {"hcl", "sweeps"}
    assert {path.suffix for path in files} == {".py", ".cpp", ".typed"}
    assert not {"data", ".venv", "mlruns", "runs", "__pycache__"} & {
        part for path in files for part in path.parts
    }
    with shipped(project) as environment:
        (key, folder), *others = environment.items()
        assert key == "working_dir" and not others
        sent = {p.relative_to(folder) for p in Path(folder).rglob("*") if p.is_file()}
        assert sent == set(files) and Path("sweeps/workers/trainable.py") in sent
    assert not Path(folder).exists()


def test_too_much_is_refused_with_the_largest_files(project: Path) -> None:
    for number in range(1, 5):
        (project / f"hcl/table_{number}.py").write_bytes(b"#" * number * 2**20)
    with pytest.raises(ConfigError) as caught, shipped(project):
        pass
    (message,) = caught.value.errors
    size = sum((project / path).stat().st_size for path in code_files()) / 2**20 + 10
    assert message.startswith(f"--ship-code: the code has {size:.1f} MiB, more than 10.0 MiB;")
    assert "hcl/table_4.py 4.0 MiB, hcl/table_3.py 3.0 MiB, hcl/table_2.py 2.0 MiB" in message


def test_this_code_is_far_below_the_limit() -> None:
    assert sum((shipping.ROOT / path).stat().st_size for path in code_files()) < shipping.LIMIT / 5
    check_option(True, "auto")
    check_option(False, None)
    with pytest.raises(ConfigError, match="--ship-code: this machine has the code; use it with"):
        check_option(True, None)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.skipif(
    shutil.which(shlex.split(environ.get("CXX", "c++"))[0]) is None, reason="no C++ compiler"
)
def test_training_from_a_shipped_copy_uses_the_compiled_kernel(tmp_path: Path) -> None:
    config = trial("hnet", train__compile="on")  # three tasks; the first is not regularized
    command = [sys.executable, "-c", TRAINING, json.dumps(config.to_dict())]
    with shipped() as environment:
        folder = environment["working_dir"]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environ | {"PYTHONPATH": folder},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["code"]) == Path(folder) / "hcl" / "__init__.py"
    assert found["seconds"] > 0, done.stderr
    assert found["steps"] == 2 * ITERATIONS


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore")
def test_workers_run_the_code_that_was_shipped(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = tmp_path / "marks"
    module = project / "sweeps/workers/seed.py"
    module.write_text(module.read_text() + MARK.format(marks=str(marks)))
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # of the nodes
    command = [sys.executable, "-m", "sweeps.cli", "sweep", str(tmp_path / "space.yaml")]
    command += ["--storage", str(tmp_path / "storage"), "--ship-code", "--address"]
    with running_cluster() as cluster:
        done = subprocess.run(
            [*command, cluster.address],
            cwd=project,
            env=environ | cluster.environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 trials ended" in done.stdout
    driver, *workers = marks.read_text().splitlines()
    assert driver == str(module)
    assert workers and all("/working_dir_files/" in path for path in workers)
