"""What a build knows of the package and the repository does not: where it is built from.

`project.urls` of a wheel and of an sdist are the pages of the repository that the workflow runs in, or whose
clone this is. A build that knows of none has none.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


def repository(root: str | Path) -> str | None:
    """The address of the repository, "https://…" without ".git"; None where nobody says."""
    if "GITHUB_REPOSITORY" in os.environ:
        return (
            f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{os.environ['GITHUB_REPOSITORY']}"
        )
    if not (Path(root) / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "-C", str(root), "remote", "get-url", "origin"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    found = re.fullmatch(
        r"(?:https://(?:[^/@]+@)?|(?:ssh://)?git@)([\w.-]+)[:/](.+?)(?:\.git)?/?", asked.stdout.strip()
    )
    return f"https://{found[1]}/{found[2]}" if found else None


def urls(root: str | Path) -> dict[str, str]:
    """The links of the package's page."""
    address = repository(root)
    if address is None:
        return {}
    return {
        "Repository": address,
        "Documentation": f"{address}/tree/main/docs",
        "Changelog": f"{address}/blob/main/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }


class Links(MetadataHookInterface):
    """Fills `project.urls`."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling."""
        metadata["urls"] = urls(self.root)
