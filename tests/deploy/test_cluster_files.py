"""The files that start clusters pass Ray's schema and bash's parser and hold no secrets."""

import copy
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
DEPLOY = REPO / "deploy"
CLUSTERS = ("cluster.yaml", "cluster-onprem.yaml")
SCRIPTS = sorted(path.name for path in [*DEPLOY.glob("*.sh"), *DEPLOY.glob("*.sbatch")])
TEXTS = [REPO / name for name in CLUSTERS] + sorted(p for p in DEPLOY.iterdir() if p.is_file())
# rsync must not copy any of these to a node.
UNSHIPPED = ("/data", "/storage", ".venv", "mlruns", "mlflow.db")


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((REPO / name).read_text())


def validated(config: dict[str, Any]) -> dict[str, Any]:
    """Check a config as `ray up` does before it contacts anybody. It needs Ray's internals."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def commands(config: dict[str, Any]) -> list[str]:
    return [line for key, lines in config.items() if key.endswith("_commands") for line in lines]


def test_an_image_has_what_git_has() -> None:
    """A .venv of the checkout would be taken for the image's own."""
    files = ((REPO / name).read_text().splitlines() for name in (".gitignore", ".dockerignore"))
    git, docker = ({line.strip("/").removeprefix("**/") for line in lines} for lines in files)
    assert {line for line in docker if not line.startswith("#")} == git


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", CLUSTERS)
def test_ray_accepts_the_cluster_file(name: str) -> None:
    prepared = validated(read(name))
    # Ray fills in keys that are left out, e.g. with a download of its nightly build.
    for key in ("setup_commands", "head_setup_commands", "head_start_ray_commands"):
        own = read(name)[key]
        assert prepared[key][-len(own) :] == own
    assert not any("ray-wheels" in line for line in commands(prepared))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("no_such_key",), 1),
        (("head_node_type",), "no_such_type"),
        (("available_node_types", "gpu_worker", "max_worker"), 1),
        (("available_node_types", "gpu_worker", "min_workers"), "none"),
    ],
)
def test_the_check_notices_mistakes(path: tuple[str, ...], value: Any) -> None:
    config = broken = read("cluster.yaml")
    for key in path[:-1]:
        broken = broken[key]
    broken[path[-1]] = value
    with pytest.raises(Exception, match="no_such|max_worker|min_workers|head_node_type|integer"):
        validated(config)


def test_gpu_workers_are_spot_and_none_is_kept() -> None:
    worker = read("cluster.yaml")["available_node_types"]["gpu_worker"]
    assert worker["min_workers"] == 0
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert read("cluster.yaml")["available_node_types"]["head"]["resources"] == {"CPU": 0}


def test_machines_of_ones_own_all_join() -> None:
    """Ray does not know what they have before they join, so it starts none for a trial."""
    config = read("cluster-onprem.yaml")
    config["provider"]["worker_ips"] = ["10.0.0.2", "10.0.0.3"]
    (kind,) = validated(config)["available_node_types"].values()
    assert (kind["min_workers"], kind["max_workers"]) == (2, 2)


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_environment_is_not_among_the_files_that_ray_reads(name: str, tmp_path: Path) -> None:
    (move,) = (line for line in read(name)["setup_commands"] if "ln -s" in line)
    venv = tmp_path / "hcl" / ".venv"
    venv.mkdir(parents=True)
    (venv / "python").touch()
    for _ in range(2):
        subprocess.run(
            ["sh", "-c", move], env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, check=True
        )
    assert venv.is_symlink() and (venv / "python").exists()
    assert not list(os.walk(venv.parent))[1:]


def test_the_autoscaler_knows_the_head_of_own_machines() -> None:
    (start,) = (line for line in commands(read("cluster-onprem.yaml")) if "--head" in line)
    assert "RAY_enable_autoscaler_v2=0" in start  # `ray up` exports 1 before it


def test_the_job_of_the_page_reaches_the_launcher(tmp_path: Path) -> None:
    page = (REPO / "docs" / "cluster.md").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^ray job submit .* -- (.*)$", page, re.MULTILINE)
    launcher = tmp_path / "hcl" / "deploy" / "hcl.sh"
    launcher.parent.mkdir(parents=True)
    launcher.write_text('printf "%s\\n" "$@"')
    job = shlex.join(
        shlex.split(line)
    )  # Ray quotes each word, so the head's shell expands nothing
    done = subprocess.run(
        ["sh", "-c", job], env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True, text=True,
    )  # fmt: skip
    words = done.stdout.split()
    assert words[:3] == ["sweep", "split_mnist-hnet", "--gpus-per-trial"], done.stderr
    assert words[-2:] == ["--max-failures", "10"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_ray_process_asks_for_the_token(name: str) -> None:
    config = read(name)
    starts = [line for line in commands(config) if re.search(r"bin/ray (start|stop)", line)]
    assert len(starts) == 4
    assert all("RAY_AUTH_MODE=token" in line for line in starts)
    assert any(remote.endswith("/.ray/auth_token") for remote in config["file_mounts"])


@pytest.mark.parametrize("name", CLUSTERS)
def test_nothing_listens_to_the_world(name: str) -> None:
    heads = [line for line in commands(read(name)) if "--head" in line]
    assert heads and all("--dashboard-host=127.0.0.1" in line for line in heads)


@pytest.mark.parametrize("name", CLUSTERS)
def test_code_is_shipped_without_data_environment_and_records(name: str) -> None:
    config = read(name)
    assert set(UNSHIPPED) <= set(config["rsync_exclude"])
    assert config["rsync_filter"] == [".gitignore"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_bytecode_is_compiled_once(name: str) -> None:
    # The Makefile's target compiles bytecode; installs on top of it must do so too.
    assert "--compile-bytecode" in (REPO / "Makefile").read_text()
    installs = [line for line in commands(read(name)) if "pip install" in line]
    assert installs and all("--compile-bytecode" in line for line in installs)
    assert all("--require-hashes" in line for line in installs)


@pytest.mark.parametrize("name", CLUSTERS)
def test_files_named_by_the_cluster_file_exist(name: str) -> None:
    named = {
        match
        for line in commands(read(name))
        for match in re.findall(r"(?:~/hcl/|\s)(deploy/[\w./]+)", line)
    }
    assert named and all((REPO / path).is_file() for path in named), named


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_can_parse_the_script(name: str) -> None:
    done = subprocess.run(["bash", "-n", DEPLOY / name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "set -euo pipefail" in (DEPLOY / name).read_text()


def test_slurm_script_asks_for_what_it_needs() -> None:
    text = (DEPLOY / "slurm.sbatch").read_text()
    keys = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert text.count("#SBATCH") == len(keys)
    # SLURM ignores #SBATCH lines after the first command.
    assert "#SBATCH" not in text.split("set -euo pipefail")[1]
    assert keys["ntasks-per-node"] == "1"
    assert {"nodes", "cpus-per-task", "gpus-per-node", "mem", "time", "output"} <= keys.keys()
    assert keys["signal"].startswith("B:USR1@") and {"requeue", "no-kill"} <= keys.keys()
    assert "ray stop\n" not in text  # would end the Ray of other jobs on the node


def test_rayjob_has_the_shape_that_kuberay_knows() -> None:
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert spec.keys() <= {
        *("entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes"),
        *("ttlSecondsAfterFinished", "activeDeadlineSeconds", "rayClusterSpec"),
    }
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["entrypoint"].startswith("hcl sweep ") and "--max-concurrent" in spec["entrypoint"]
    # `hcl sweep` starts and resumes by itself; --resume would refuse the first start.
    assert "--resume" not in spec["entrypoint"]
    cluster = spec["rayClusterSpec"]
    assert cluster.keys() <= {
        *("rayVersion", "enableInTreeAutoscaling", "authOptions"),
        *("headGroupSpec", "workerGroupSpecs"),
    }
    assert cluster["authOptions"] == {"mode": "token"}
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] == 0 < workers["maxReplicas"]
    for group in (cluster["headGroupSpec"], workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            volume["name"] for volume in pod["volumes"]
        }
        assert container["envFrom"] == [{"secretRef": {"name": "hcl"}}]


def test_rayjob_is_for_the_ray_that_is_locked() -> None:
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    for lock in (REPO / "requirements.lock", DEPLOY / "requirements.lock"):
        (version,) = re.findall(r"^ray(?:\[[^]]*\])?==(\S+)", lock.read_text(), re.MULTILINE)
        assert version == job["spec"]["rayClusterSpec"]["rayVersion"]


def test_rayjob_options_are_options_of_hcl_sweep() -> None:
    import typer

    from sweeps.cli import app

    spec = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())["spec"]
    command = typer.main.get_command(app).commands["sweep"]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[\w-]+", spec["entrypoint"])) <= known


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_no_registry_account_or_secret(path: Path) -> None:
    text = path.read_text()
    assert TEXTS and not re.search(
        r"py[p]i|python[h]osted|conda\.|docker\.io|ghcr|quay\.io|\.ecr\.", text
    )
    assert not re.search(r"index-url|--find-links|https?://(?!\$)", text)
    # Account numbers, images, keys and volumes.
    assert not re.search(r"\b\d{12}\b|\bami-\w|\bAKIA|\bfs-\w{8}|\bsg-\w{8}|\bsubnet-\w{8}", text)
    assert not re.search(r"(?i)(password|secret|token)\s*[:=]\s*['\"]?[A-Za-z0-9+/_-]{12,}", text)


def test_the_check_for_secrets_would_find_one(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("admin_password = correcthorsebattery\n")
    with pytest.raises(AssertionError):
        test_no_registry_account_or_secret(tmp_path / "x.yaml")
