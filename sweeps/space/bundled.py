"""Find the files that come with hcl: search spaces, tables of the paper, single trials, studies.

In a checkout they are folders beside the packages, in a wheel they are in `sweeps/bundled`, where
`hatch_build.py` puts them.
"""

from pathlib import Path

from hcl.config import ConfigError
from hcl.config.schema import suggest

PACKAGE = Path(__file__).parents[1]
FOLDERS = {
    "search space": "search_spaces",
    "table": "search_spaces/tables",
    "trial": "trials",
    "study": "studies",
}
ENDINGS = (".yaml", ".yml", ".json")


def bundled_files(kind: str) -> dict[str, Path]:
    """List the bundled files of a kind: name -> file.

    Args:
        kind: a key of FOLDERS.

    Raises:
        ConfigError: there are none, because the installation is not complete.
    """
    inside = PACKAGE / "bundled"
    folder = (inside if inside.is_dir() else PACKAGE.parent) / FOLDERS[kind]
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if not found:
        raise ConfigError(f"there is no {kind} in {folder}; install hcl-sweeps again")
    return found


def find_file(given: str | Path, *kinds: str) -> Path:
    """Find a file by its path, or by the name of a bundled one; a user's own comes first.

    Args:
        given: `FOLDER/NAME.yaml`, or `NAME`, which is NAME or NAME.yaml here, or a bundled file.
        kinds: kinds that the bundled file may be of, keys of FOLDERS.

    Raises:
        ConfigError: a name is neither here nor bundled.
    """
    path = Path(given)
    own = path.with_name(f"{path.name}.yaml") if path.name else path
    if path.is_file() or path.suffix in ENDINGS:
        return path  # whoever reads it says what is wrong with it
    if own.is_file():
        return own
    if path.exists() or len(path.parts) != 1:
        return path
    bundled = {name: file for kind in kinds for name, file in bundled_files(kind).items()}
    if path.name not in bundled:
        kind = kinds[0] if len(kinds) == 1 else "bundled file"
        raise ConfigError(f"there is no {kind} {path.name!r}{suggest(path.name, bundled)}")
    return bundled[path.name]
