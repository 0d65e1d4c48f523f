"""The tree tells the architecture: imports go down its layers, never up, never round."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_MODULES = 10
# One small file per entry, however many.
REGISTRIES = ("hcl/methods", "hcl/networks", "sweeps/commands")

# Top to bottom. Rooms in one layer may import each other as long as no circle comes of it.
LAYERS = {
    "hcl": (
        ("__main__", "replicas", "measure"),
        ("training",),
        ("learners",),
        ("methods",),
        ("replay",),
        ("networks", "benchmarks"),
        ("hypernets", "inference", "scenario", "storage"),
        ("kernels", "seeding"),
        ("config", "metrics", "results"),
    ),
    "sweeps": (
        ("cli",),
        ("api", "commands"),
        ("comparison", "reproduction"),
        ("launch",),
        ("cluster",),
        ("reports", "workers"),
        ("tracking", "study"),
        ("output", "records", "space"),
    ),
}


def module_files() -> list[Path]:
    return [path for package in LAYERS for path in sorted((ROOT / package).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, known: set[str]) -> Iterator[str]:
    """Modules of ours that a file names in any import, lazy and TYPE_CHECKING ones included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name for name in submodules if name in known]
            yield from found
            if len(found) < len(submodules):
                yield str(node.module)


def graph() -> dict[str, set[str]]:
    """Module -> modules it imports. A package's `__init__` hands names on: it is a module."""
    files = {module_name(path): path for path in module_files()}
    return {name: set(imported(path, set(files))) - {name} for name, path in files.items()}


def room(module: str) -> str:
    """`hcl.kernels.matmul` -> `kernels`."""
    return module.split(".")[1] if "." in module else ""


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of two and more modules (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            members = [stack.pop()]
            while members[-1] != name:
                members.append(stack.pop())
            if len(members) > 1:
                found.append(sorted(members))

    for name in sorted(edges):
        if name not in index:
            visit(name)
    return found


@pytest.mark.parametrize("package", LAYERS)
def test_imports_go_down(package: str) -> None:
    height = {name: i for i, layer in enumerate(LAYERS[package]) for name in layer}
    upward = [
        f"{name} imports {other}, which is in a higher layer"
        for name, others in graph().items()
        if name.startswith(f"{package}.")
        for other in sorted(others)
        if other.startswith(f"{package}.") and height[room(other)] < height[room(name)]
    ]
    assert not upward, "\n".join(upward)


def test_the_library_does_not_know_the_driver() -> None:
    knows = [
        f"{name} imports {other}"
        for name, others in graph().items()
        if name.startswith("hcl")
        for other in others
        if other.startswith("sweeps")
    ]
    assert not knows, "\n".join(knows)


def test_the_library_imports_none_of_the_drivers_libraries() -> None:
    """Not even inside a function."""
    found = set()
    for path in (ROOT / "hcl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [
                alias.name for alias in getattr(node, "names", []) if isinstance(node, ast.Import)
            ]
            named += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            found |= {name.partition(".")[0] for name in named}
    assert "torch" in found
    assert not found & {"mlflow", "optuna", "ray", "yaml", "typer", "rich", "pandas"}


def test_no_imports_go_round() -> None:
    edges = graph()
    told = [
        f"a circle: {', '.join(f'{a} imports {b}' for a in ring for b in ring if b in edges[a])}"
        for ring in circles(edges)
    ]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("package", LAYERS)
def test_every_room_has_a_layer(package: str) -> None:
    rooms = (
        {room(module_name(path)) for path in module_files()}
        if package == ""
        else {room(name) for name in graph() if name.startswith(f"{package}.")}
    )
    assert rooms == {name for layer in LAYERS[package] for name in layer}


def test_folders_are_small() -> None:
    counts: dict[str, int] = {}
    for path in module_files():
        if path.name != "__init__.py":
            folder = path.parent.relative_to(ROOT).as_posix()
            counts[folder] = counts.get(folder, 0) + 1
    large = {f: n for f, n in counts.items() if n > MOST_MODULES and f not in REGISTRIES}
    assert not large


def test_a_circle_and_an_upward_import_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
