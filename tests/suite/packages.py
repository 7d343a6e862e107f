"""The packages that the wheel holds, and their files: what a rule for all of our code looks at."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
CODE = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
