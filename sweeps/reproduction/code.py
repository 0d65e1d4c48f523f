"""The version of the code that matters to a training: what it would run, comments left out."""

import ast
import hashlib
from functools import cache
from pathlib import Path

import hcl
from hcl.config import TrialConfig

ROOT = Path(hcl.__file__).parent
# Registries name every method and benchmark: following them, a new method would make all old
# results another code's. Settings are in the configuration's own digest; the others only report.
NOT_FOLLOWED = (
    "hcl",
    "hcl.benchmarks",
    "hcl.benchmark_config",
    "hcl.checkpoint",
    "hcl.config",
    "hcl.config_checks",
    "hcl.method_configs",
    "hcl.methods",
    "hcl.networks",
    "hcl.results",
    "hcl.schema",
    "hcl.target_config",
    "hcl.train_config",
)


def code_digest(config: TrialConfig) -> str:
    """8 hex characters that change when the code of this training does.

    Every module of `hcl` that the loop, the method and the benchmark import counts, its comments
    and docstrings do not.
    """
    from hcl.methods import METHODS
    from hcl.networks import NETWORKS, torchvision_models

    method = METHODS[config.method_name].__module__
    network = NETWORKS.get(config.target.network, torchvision_models.build).__module__
    return modules_digest("hcl.learner", method, network, "hcl.benchmarks.sequences")


def modules_digest(*start: str) -> str:
    """8 hex characters of the code of these modules of `hcl` and of all that they import."""
    total = hashlib.sha256()
    for module in sorted(_closure(start)):
        total.update(f"{module}\n{_meaning(module)}\n{_compiled(module)}".encode())
    return total.hexdigest()[:8]


def _closure(start: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        module = waiting.pop()
        if module not in found and module not in NOT_FOLLOWED and _path(module):
            found.add(module)
            waiting += _imports(module)
    return found


@cache
def _path(module: str) -> Path | None:
    path = ROOT.parent / module.replace(".", "/")
    options = (path.with_suffix(".py"), path / "__init__.py")
    return next((option for option in options if option.is_file()), None)


@cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    assert path is not None
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports(module: str) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]  # submodules
    return tuple(name for name in names if name.split(".")[0] == "hcl")


@cache
def _meaning(module: str) -> str:
    """The module's syntax tree without docstrings: comments and layout are gone too."""
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and _has_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


@cache
def _compiled(module: str) -> str:
    """The C++ beside a module, without lines of comment."""
    path = _path(module)
    source = path.with_suffix(".cpp") if path else None
    if source is None or not source.is_file():
        return ""
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.lstrip().startswith("//"))


def _has_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
