"""Add to a wheel what is kept elsewhere in a checkout: bundled files, and the commit."""

import json
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLED = "sweeps/bundled"  # sweeps/space/bundled.py finds them there
FOLDERS = ("search_spaces", "trials", "studies")


class CustomBuildHook(BuildHookInterface):
    """Hatchling's hook, which it finds by this file's name."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Say which further files the wheel or the source archive holds.

        Args:
            version: "editable" for an installation that uses the checkout as it is.
            build_data: hatchling's; `force_include` maps files here to their place there.
        """
        root, include = Path(self.root), build_data["force_include"]
        if version == "editable":
            return
        if self.target_name == "wheel":
            include |= {str(root / name): f"{BUNDLED}/{name}" for name in FOLDERS}
        if (root / ".git").exists():  # else it is a source archive, which has the file already
            self._commit_file.parent.mkdir(parents=True, exist_ok=True)
            self._commit_file.write_text(json.dumps(_commit(root)))
            include[str(self._commit_file)] = f"{BUNDLED}/commit.json"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what `initialize` wrote."""
        self._commit_file.unlink(missing_ok=True)

    @property
    def _commit_file(self) -> Path:
        return Path(self.directory) / "commit.json"


def _commit(root: Path) -> dict[str, Any]:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=root, check=True, capture_output=True, text=True
        ).stdout.strip()

    return {
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": bool(git("status", "--porcelain")),
    }
