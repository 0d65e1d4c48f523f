"""`--ship-code`: this project's code for a cluster whose nodes have its dependencies alone.

Source files of the two packages (Python and C++) travel and nothing else. They are copied aside
first, so that no data, environment or records can be among them, wherever those are kept. They
are Ray's `working_dir` and not its `py_modules`: with the latter, Ray puts the driver's own
folders first in the workers' search path, where an old copy of the code may be.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hcl.config import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hcl", "sweeps")
SUFFIXES = (".py", ".typed", ".cpp")  # C++ is compiled on the nodes
LIMIT = 10 * 2**20  # bytes; the code has a few hundred thousand, so more is a mistake


def code_files(root: Path = ROOT) -> list[Path]:
    """List what would be shipped, relative to `root`.

    Raises:
        ConfigError: it is too much.
    """
    found = [
        path.relative_to(root)
        for package in PACKAGES
        for path in sorted((root / package).rglob("*"))
        if path.suffix in SUFFIXES and path.is_file() and not _is_hidden(path.relative_to(root))
    ]
    sizes = {path: (root / path).stat().st_size for path in found}
    total = sum(sizes.values())
    if total > LIMIT:
        largest = sorted(found, key=lambda path: -sizes[path])[:3]
        named = ", ".join(f"{path} {_mib(sizes[path])}" for path in largest)
        raise ConfigError(
            f"--ship-code: the code has {_mib(total)}, more than {_mib(LIMIT)}; the largest files"
            f" are {named}: move them out of {root}"
        )
    return found


@contextmanager
def shipped(root: Path = ROOT) -> Iterator[dict[str, Any]]:
    """Yield Ray's runtime environment with the code, for `ray.init`, which uploads it.

    Raises:
        ConfigError: the code is too large.
    """
    files = code_files(root)
    with tempfile.TemporaryDirectory(prefix="hcl-code-") as folder:
        for path in files:
            copy = Path(folder) / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, copy)
        yield {"working_dir": folder}


def check_option(ship_code: bool, address: str | None) -> None:
    """Refuse to ship to this machine, or too much, before anything starts.

    Raises:
        ConfigError: says which of the two.
    """
    if not ship_code:
        return
    if address is None:
        raise ConfigError("--ship-code: this machine has the code; use it with --address")
    code_files()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
