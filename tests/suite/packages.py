"""The packages that the wheel holds, and their files: what a rule for all of our code looks at."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_WHEEL = _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
FOLDERS: list[str] = _WHEEL["only-include"]
PACKAGES: list[str] = [_WHEEL["sources"].get(folder, folder) for folder in FOLDERS]
CODE = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
