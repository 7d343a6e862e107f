"""Packages with entry points, as pip would leave them: a module and the metadata, in a folder on the path."""

from pathlib import Path

GROUP = "onboarding_worker.providers"


def install(folder: Path, package: str, points: dict[str, str], *, group: str = GROUP, module: str = "") -> None:
    """Put the package into the folder. `points` are its entry points; `module` is the text of its one module."""
    metadata = folder / f"{package.replace('-', '_')}-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n")
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    if module:
        (folder / f"{package.replace('-', '_')}.py").write_text(module)
