"""A user's own code, named by its import path `package.module:Name`, and that code's digest.

The code of a path is its module's file and the files that this one imports, directly or not: of
the same folder or another one that `importable` names, or of the same installed package.
"""

import ast
import hashlib
import importlib
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hcl.config.schema import ConfigError, suggest

Files = dict[str, bytes]  # name relative to a folder of modules -> content
LIMIT = 2 * 2**20  # bytes of one path's code, installed packages aside; more is a mistake

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_OURS = ("hcl", "sweeps")
_STANDARD_LIBRARY = Path(ast.__file__).parent
_folders: list[Path] = []  # that were made importable
_file_folders: list[Path] = []  # where files of data are looked for beside those
_code: dict[str, dict[Path, Files]] = {}  # module -> folder -> its files there


def is_import_path(name: object) -> bool:
    """Tell whether a name has the form `package.module:Name`; `torchvision:NAME` is a data set."""
    if not isinstance(name, str) or name.startswith("torchvision:"):
        return False
    return _PATH.fullmatch(name) is not None


@contextmanager
def importable(*folders: Path) -> Iterator[None]:
    """Let import paths name what lies in these folders; forget its modules afterwards.

    Installed packages come first. Modules are forgotten so that the next folder's `methods.py` is
    not taken for this one's.
    """
    new = [
        folder for folder in dict.fromkeys(map(Path.absolute, folders)) if folder not in _folders
    ]
    for folder in new:
        use(folder)
    try:
        yield
    finally:
        for folder in new:
            _folders.remove(folder)
            sys.path.remove(str(folder))
            _forget(folder)


def use(folder: Path) -> None:
    """Let import paths name what lies in a folder, for the rest of this process."""
    if folder not in _folders:
        _folders.append(folder)
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def look_in(folders: Iterable[Path]) -> None:
    """Look for files of data in these folders too, for the rest of this process."""
    _file_folders.extend(folder for folder in folders if folder not in _file_folders)


def file_folders() -> list[Path]:
    """List the folders where users' files of data are looked for."""
    return list(dict.fromkeys([*_folders, *_file_folders, Path.cwd()]))


def _forget(folder: Path) -> None:
    names = [name for found in _code.values() for name in found.get(folder, {})]
    files = {str(folder / name) for name in names}
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) in files:
            del sys.modules[name]
    for name in [name for name, found in _code.items() if folder in found]:
        del _code[name]


def load(path: str) -> Any:
    """Import what a path names.

    Raises:
        ConfigError: there is no such module or name, or the module cannot be imported.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever a user's module raises
        raise ConfigError(f"{path} {_why_not(module_name, error)}") from None
    file = getattr(module, "__file__", None)
    if file is None and hasattr(module, "__path__"):  # any folder that happens to have the name
        raise ConfigError(f"{path} {_not_found(module_name)}")
    _read_code(module_name)
    if not hasattr(module, name):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise ConfigError(f"{path} is not there: {file} has no {name}{suggest(name, public)}")
    return getattr(module, name)


def _why_not(module: str, error: BaseException) -> str:
    """Say why a module cannot be imported, with the line of the user's file."""
    if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
        return _not_found(str(error.name))
    what = f"{type(error).__name__}: {next(iter(str(error).splitlines()), 'no details')}"
    if isinstance(error, SyntaxError):
        return f"cannot be imported: {error.filename}, line {error.lineno}: {what}"
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename
    ]
    where = f"{frames[-1].filename}, line {frames[-1].lineno}: " if len(frames) > 1 else ""
    return f"cannot be imported: {where}{what}"


def _not_found(module: str) -> str:
    places = " or ".join(map(str, _folders)) or "Python's search path"
    return (
        f"cannot be imported: there is no module {module} in {places}; put its file there, name it"
        " with --plugin FILE, or put its folder on Python's path (PYTHONPATH, sys.path)"
    )


def code_of(paths: Iterable[str]) -> dict[Path, Files]:
    """Read the code of some paths, by the folder that each file's name is relative to.

    Raises:
        ConfigError: it cannot be imported, or is too large.
    """
    together: dict[Path, Files] = {}
    for path in paths:
        load(path)
        for folder, files in _code[path.partition(":")[0]].items():
            together.setdefault(folder, {}).update(files)
    return together


def digest(paths: Iterable[str]) -> str:
    """Hash the code of some paths, wherever its folders are: 12 hex characters; "" for no path.

    Raises:
        ConfigError: it cannot be imported, or is too large.
    """
    total, paths = hashlib.sha256(), list(paths)
    files = {name: content for found in code_of(paths).values() for name, content in found.items()}
    for name in sorted(files):
        total.update(f"{name} {len(files[name])}\n".encode() + files[name])
    return total.hexdigest()[:12] if paths else ""


def to_keep(paths: Iterable[str]) -> Files:
    """Read the files that another machine needs to import some paths: not installed packages."""
    own = [files for folder, files in code_of(paths).items() if not _is_installed(folder)]
    return {name: content for files in own for name, content in files.items()}


def _is_installed(folder: Path) -> bool:
    return folder.name in ("site-packages", "dist-packages") or folder == _STANDARD_LIBRARY


def _read_code(module: str) -> dict[Path, Files]:
    """Read a module's file and all that it imports, once: what is imported does not change."""
    if module not in _code:
        file = getattr(sys.modules[module], "__file__", None)
        found: dict[Path, Files] = {}
        if file is not None:
            depth = module.count(".") + (Path(file).stem == "__init__")
            home = Path(file).parents[depth]
            _follow(module, [home, *(folder for folder in _folders if folder != home)], found)
        _code[module] = found  # also where it is refused below: `_forget` goes by it
    own = [files for folder, files in _code[module].items() if not _is_installed(folder)]
    size = sum(len(content) for files in own for content in files.values())
    if size > LIMIT:
        raise ConfigError(
            f"{module}: its code and what that imports have {size / 2**20:.1f} MiB, more than"
            f" {LIMIT / 2**20:.0f} MiB; keep data in files of their own"
        )
    return _code[module]


def _follow(start: str, places: list[Path], found: dict[Path, Files]) -> None:
    """Add the files of a module, and of what they import from some folders, to `found`."""
    own = start.partition(".")[0]
    todo, seen = [start], set()
    while todo:
        name = todo.pop()
        package = name.partition(".")[0]
        is_foreign = package in _OURS or (_is_installed(places[0]) and package != own)
        if name in seen or is_foreign:
            continue
        seen.add(name)
        for folder, relative in _files_of(name, places):
            files = found.setdefault(folder, {})
            if relative not in files:
                files[relative] = (folder / relative).read_bytes()
                todo += _imported_by(files[relative], relative)


def _files_of(module: str, places: list[Path]) -> Iterator[tuple[Path, str]]:
    """Find the files that importing a module runs: its packages' and its own."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        stem = "/".join(parts[:count])
        names = [(at, name) for at in places for name in (f"{stem}.py", f"{stem}/__init__.py")]
        yield from [(at, name) for at, name in names if (at / name).is_file()][:1]


def _imported_by(source: bytes, relative: str) -> Iterator[str]:
    """List the modules that a file may import; names in them are listed too."""
    package = relative.split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
