"""Packages with entry points, as pip would leave them: a module and the metadata, in a folder on the path."""

from pathlib import Path
from typing import Any

GROUP = "onboarding_worker.providers"


def install(folder: Path, package: str, points: dict[str, Any], *, group: str = GROUP, module: str = "") -> None:
    """Put the package into the folder. `points` are its entry points, of `group` or by group; `module` is the text of
    its one module."""
    metadata = folder / f"{package.replace('-', '_')}-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n")
    groups = points if any(isinstance(value, dict) for value in points.values()) else {group: points}
    lines = [line for name, its in groups.items() for line in (f"[{name}]", *(f"{k} = {v}" for k, v in its.items()))]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    if module:
        (folder / f"{package.replace('-', '_')}.py").write_text(module)
