"""The public names of both packages: listed for type checkers, there, and quick to import."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import hcl
import sweeps

ROOT = Path(__file__).parents[1]
PUBLIC = {
    "hcl": {"run", "load", "estimate", "load_benchmark", "metrics", "continue_training"},
    "sweeps": {"run_sweep", "runs", "load", "report", "compare"},
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("package", [hcl, sweeps], ids=["hcl", "sweeps"])
def test_type_checkers_see_what_is_there(package: object) -> None:
    name = package.__name__  # type: ignore[attr-defined]
    stub = ast.parse((ROOT / name / "__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    found = {
        alias.asname: f"{node.module}.{alias.name}" for node in imports for alias in node.names
    }
    assert PUBLIC[name] <= set(package.__all__) == set(found)  # type: ignore[attr-defined]
    assert (ROOT / name / "py.typed").exists()
    for key, path in found.items():
        module, _, attribute = path.rpartition(".")
        if key == "metrics":  # a module
            assert import_module(path) is hcl.metrics
        else:
            assert getattr(import_module(module), attribute) is getattr(package, key)


def test_an_import_is_light() -> None:
    heavy = ("torch", "numpy", "pandas", "ray", "optuna", "mlflow", "typer")
    program = (
        "import json, sys, hcl, sweeps;"
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
